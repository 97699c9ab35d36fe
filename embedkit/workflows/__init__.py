"""Verbs made of verbs: bench, compare, demo."""
