"""Benchmarks: one JSON line per figure, beside a baseline measured in the same run, compile time
apart.
"""
