"""Fuzzing of everything that credline reads: files of a run, plans, words of the command line, logs of others."""
