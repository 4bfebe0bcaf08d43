"""Credit questions: which step, which tool, how far to trust the score."""
