"""The stage while it turns: watched, and its angle fitted."""
