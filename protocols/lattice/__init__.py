"""Lattices: cells and their reduction, symmetry, reflections."""
