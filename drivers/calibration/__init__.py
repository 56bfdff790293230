"""What an instrument's settings mean: rotation speeds, settling of lenses."""
