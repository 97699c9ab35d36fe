"""The interactive map of one feature file."""
