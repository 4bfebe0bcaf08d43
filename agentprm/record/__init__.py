"""From the world to trajectories."""
