"""Which crystal is worth a cRED run: diffraction patterns are scored, with a network and without."""
