"""The commands of `credline screening`."""
