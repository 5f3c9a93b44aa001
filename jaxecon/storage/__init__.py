"""A run's folder: what is written, and how it is read back."""
