"""SerialED: find every crystal on the grid and take its diffraction pattern."""
