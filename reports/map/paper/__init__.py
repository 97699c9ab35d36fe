"""The map as a figure for a paper, drawn by matplotlib."""
