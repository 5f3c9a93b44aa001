"""Benchmarks, `python -m experiments.benchmarks.NAME`.

Each prints one JSON line for each measurement, beside a baseline measured in the same run, with
compile time apart. `results/` holds what named machines printed.
"""
