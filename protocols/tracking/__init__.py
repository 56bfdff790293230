"""Where the crystal is, where it will be, and what brings it back: analyses of snapshots, without any instrument."""
