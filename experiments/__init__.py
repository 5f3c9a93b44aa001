"""Experiments and benchmarks on jaxecon: `jaxecon experiment NAME`, `python -m experiments.NAME`."""

SUITE_OF = "jaxecon"  # others may bring a top-level module `experiments` too; jaxecon.api.check_suite looks for this
