"""One module and one YAML file an experiment: what it asks, and its tables and figures."""
