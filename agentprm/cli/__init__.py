"""The command line: verbs in the order of the river."""
