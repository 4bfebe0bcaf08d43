"""From labelled trajectories to a scorer with weights."""
