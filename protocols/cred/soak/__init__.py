"""What a soak of cRED draws and judges."""
