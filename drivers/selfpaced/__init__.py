"""Cameras that pace themselves: exposures cut out of a running series."""
