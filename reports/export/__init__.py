"""A map and what is known of its images, in the files of other programs."""
