"""Weights from a file: read without executing anything in it, and every tensor of it accounted for."""
