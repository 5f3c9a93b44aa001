"""The experiments: a module and a YAML file of the same name for each.

The module states the question and turns rows into tables and figures; the file holds the designs,
quick and full.
"""
