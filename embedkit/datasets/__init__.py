"""Where images come from: one file a source, all giving the same `Dataset`."""
