"""What the diffraction lens does: disc against defocus, settling after the way back, hysteresis and relax cycles."""
