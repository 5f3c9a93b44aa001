"""Experiments and benchmarks on jaxecon: `jaxecon experiment NAME`, `python -m experiments.NAME`."""

# others may bring a top-level module `experiments` too; jaxecon.api.check_suite looks for this
SUITE_OF = "jaxecon"
