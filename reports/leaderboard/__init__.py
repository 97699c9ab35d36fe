"""Every result in one table: what is ranked, which differences are real."""
