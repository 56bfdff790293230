"""The pytest plugin of credline, and the soak: thousands of virtual runs on bad days."""
