"""Contracts to inherit, puppets and strategies: for our tests and for yours."""
