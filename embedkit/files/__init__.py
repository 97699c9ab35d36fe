"""Everything that rooms exchange on disk: feature files, results, tables, saved models."""
