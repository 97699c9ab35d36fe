"""Images like one, and images like none: from the terminal, as a table or a page of pictures."""
