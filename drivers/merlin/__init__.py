"""Quantum Detectors MerlinEM."""
