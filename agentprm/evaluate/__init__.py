"""Benchmarks and curves."""
