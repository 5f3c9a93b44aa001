"""What answers requests: one engine a file."""
