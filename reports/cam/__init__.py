"""What a trained network looks at: maps, and whether to believe them."""
