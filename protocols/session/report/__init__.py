"""The report of a session: one page, from its own records."""
