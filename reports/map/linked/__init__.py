"""Other feature sets of the same images beside the first: one map laid over the other, and who moved."""
