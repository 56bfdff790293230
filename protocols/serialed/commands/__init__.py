"""The commands of `credline serialed`."""
