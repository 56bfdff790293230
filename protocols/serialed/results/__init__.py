"""What came of a SerialED run: the table of its crystals, and files for people and for other programs."""
