"""Patterns: simulated, drawn, and read from wherever they lie."""
