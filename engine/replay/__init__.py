"""A recorded run again: exactly, or with other latencies."""
