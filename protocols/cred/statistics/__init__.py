"""What many cRED runs have in common: how far they came, to be compared with those of other laboratories."""
