"""SerialED: every crystal on the grid is found, and its diffraction pattern taken."""
