"""The command line `credline`."""
