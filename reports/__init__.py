"""What a person looks at: the interactive map of a feature file, and the leaderboard."""
