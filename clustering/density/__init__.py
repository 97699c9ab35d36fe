"""HDBSCAN, exact: mutual reachability, spanning trees, and who belongs to a cluster."""
