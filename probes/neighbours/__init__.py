"""Exact nearest neighbours by bounds."""
