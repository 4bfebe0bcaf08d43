"""Step scores in reinforcement learning."""
