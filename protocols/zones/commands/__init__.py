"""`credline zones ...`."""
