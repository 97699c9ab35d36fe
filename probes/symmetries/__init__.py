"""Which transformations a set of images minds, asked without labels."""
