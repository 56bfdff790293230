"""A crystal of an earlier SerialED run, brought back under the beam."""
