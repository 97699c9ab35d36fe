"""The probes themselves, one file each."""
