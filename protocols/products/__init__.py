"""Image and instruction files for other programs, one format per file."""
