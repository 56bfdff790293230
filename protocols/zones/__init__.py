"""Zonal patterns: sorted out of serial snapshots, and the unit cell from them; pure functions of arrays."""
