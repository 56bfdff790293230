"""Traces for people and for other programs: lines, statistics, the timing strip, Perfetto, Bluesky documents."""
