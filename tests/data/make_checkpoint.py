"""Writes the current format's frozen checkpoint, once: PYTHONPATH=.:tests python tests/data/make_checkpoint.py."""

from pathlib import Path

from test_checkpoint import written

from jaxecon import checkpoint as ck

path = written(Path(__file__).parent / f"checkpoint-format-{ck.FORMAT}")
print(path, ck.state_digest(ck.verified(path)))
