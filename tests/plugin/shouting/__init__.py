"""A package with a scorer and a label method for agentprm."""
