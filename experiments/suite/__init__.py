"""What an experiment is, how it is run, what it leaves."""
