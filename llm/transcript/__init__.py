"""Every request and response of a run, in one SQLite file."""
