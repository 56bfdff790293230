"""Amsterdam Scientific Instruments' Serval."""
