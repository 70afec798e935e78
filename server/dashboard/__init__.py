"""The page at `/` and what a browser needs to show it."""
