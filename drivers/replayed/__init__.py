"""Instruments made from a recorded run: one that answers exactly as then, one with other latencies."""
