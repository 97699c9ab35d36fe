"""Networks by name: their weights, from where these come, and how tokens become one vector."""
