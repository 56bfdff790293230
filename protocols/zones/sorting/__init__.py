"""Which patterns are zonal: the network, and the geometry of their spots."""
