"""Scores fed back: as rewards into environments, as steering into agents."""
