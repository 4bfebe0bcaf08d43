"""Scorers that see no further than the step: reward models and rules."""
