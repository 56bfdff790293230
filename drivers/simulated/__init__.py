"""A simulated microscope: true in its timing, crystallographic in its pictures."""
