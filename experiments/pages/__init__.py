"""Documents that are written from results."""
