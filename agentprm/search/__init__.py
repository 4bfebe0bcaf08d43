"""Choosing among actions and among episodes."""
