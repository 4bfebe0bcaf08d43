"""The memory: trajectories and scores in SQL."""
