"""Strict numerics for every test in this folder."""

from oracles.strictness import precision, strict_numerics

__all__ = ["precision", "strict_numerics"]
