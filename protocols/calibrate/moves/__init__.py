"""Calibrations by moves: what a unit of a pair of deflectors, or a nm of the stage, moves on the camera."""
