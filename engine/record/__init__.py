"""What a run leaves on disk, and how it is read again: folder, run.json, trace, journal, spool, frames."""
