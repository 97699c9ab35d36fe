"""What a figure means: splits, metrics and their intervals, calibration, paired tests."""
