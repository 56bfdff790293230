"""Structure factors from a rotation whose lattice and geometry are known: predict, sum, merge, write."""
