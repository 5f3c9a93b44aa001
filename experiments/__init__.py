"""Experiments and benchmarks on jaxecon; run with `python -m experiments.NAME`."""
