"""A cRED run whose program was cut off, put together again from what is left."""
