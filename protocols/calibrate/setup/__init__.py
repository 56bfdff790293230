"""From nothing to the files of an instrument: `credline setup`."""
