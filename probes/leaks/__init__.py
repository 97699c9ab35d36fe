"""Copies of one image across a split."""
