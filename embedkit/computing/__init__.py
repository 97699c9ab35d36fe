"""What computes: the device, its driver, threads and processes."""
