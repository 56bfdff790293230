"""Calibrations as experiments: each measures some values of an instrument and stores them in its instrument file."""
