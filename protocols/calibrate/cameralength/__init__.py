"""The true camera length with beam centre and ellipse: from the rings of a powder, or from a crystal of known cell."""
