"""Talks to hardware: one room per vendor, all of them behind the protocols of `drivers.contract`."""
