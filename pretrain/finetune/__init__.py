"""Training with labels: recipes, what trains in each phase, at which rates, in which batches."""
