"""One page about the votes of a dataset, and about models that predict them."""
