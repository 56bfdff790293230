"""Hundreds of virtual experiments, to compare ways of keeping a crystal in the beam: `credline campaign`."""
