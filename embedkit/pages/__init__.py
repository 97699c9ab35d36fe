"""HTML pages that ask no network."""
