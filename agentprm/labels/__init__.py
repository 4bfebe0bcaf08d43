"""Label methods: scorers that see the whole episode."""
