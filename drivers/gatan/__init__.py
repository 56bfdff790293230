"""Cameras of Gatan DigitalMicrograph, through SerialEM's plug-in."""
