"""k-means: where centroids start, how they descend, which descents are run."""
