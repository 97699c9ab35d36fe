"""One image: from bytes to pixels, from pixels to a network's input, and its views."""
