"""Crystals in an image at low magnification: where they are, how large, and whether each is alone. Pure functions."""
