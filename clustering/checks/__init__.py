"""What `clustering.checks.explain` checks, a file for each thing that is looked at."""
