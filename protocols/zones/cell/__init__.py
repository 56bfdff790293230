"""The unit cell from zones."""
