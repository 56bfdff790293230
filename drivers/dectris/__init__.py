"""DECTRIS detectors with the SIMPLON API."""
