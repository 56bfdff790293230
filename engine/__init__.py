"""Runs experiments: time, budgets, machines, traces, data on disk. Knows no vendor and no crystallography."""
