"""Image features on disk, and what can be learnt from them."""
