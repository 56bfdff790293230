"""Continuous rotation electron diffraction (cRED) of one crystal, with defocused snapshots between the frames."""

from protocols.cred.experiment import CRED

__all__ = ["CRED"]
