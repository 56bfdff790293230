"""A night without an operator: crystal after crystal of a grid, judged as they come, and what all of them come to."""
