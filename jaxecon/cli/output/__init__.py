"""What commands print: progress while they work, and tables of results."""
