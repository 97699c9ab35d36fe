"""What labels can read out of features: fixed splits, kNN and linear probes, and their scores."""
