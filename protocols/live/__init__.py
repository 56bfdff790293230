"""What a rotation tells while it goes on: the lattice, its uncertainty, what it is good for and how long to go on."""
