"""Structure without labels: principal components, k-means, HDBSCAN, and what they are worth."""
