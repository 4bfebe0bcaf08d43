"""From trajectories to words."""
