"""Talks to hardware: one file per vendor interface, all of them behind the protocols of `drivers.base`."""
