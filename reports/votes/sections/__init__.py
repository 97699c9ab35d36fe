"""What stands on the page about votes: one file for what one kind of input gives."""
