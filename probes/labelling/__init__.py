"""A few labels taken as far as they go: what they are worth, all other images, and which to label next."""
