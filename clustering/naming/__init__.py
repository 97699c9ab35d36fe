"""Groups that people name: many and tight, each called after the images in its middle."""
