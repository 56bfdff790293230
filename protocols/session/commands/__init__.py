"""The group of commands `credline session`."""
