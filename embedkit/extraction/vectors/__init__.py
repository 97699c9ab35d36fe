"""Vectors that were computed elsewhere become a feature file."""
