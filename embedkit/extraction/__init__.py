"""Images through a backbone, part by part, into one feature file."""
