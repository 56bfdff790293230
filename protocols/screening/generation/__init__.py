"""Labelled diffraction patterns, made and not measured: to train on, and to judge with."""

from protocols.screening.generation.cameras import CameraKind
from protocols.screening.generation.patterns import LabelledPattern, generate

__all__ = ["CameraKind", "LabelledPattern", "generate"]
