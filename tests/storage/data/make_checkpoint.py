"""Writes the current format's frozen checkpoint, once: PYTHONPATH=.:tests/storage python
tests/storage/data/make_checkpoint.py.
"""

from pathlib import Path

from test_checkpoint import written

from jaxecon.storage.checkpoint_files import FORMAT, state_digest, verified

path = written(Path(__file__).parent / f"checkpoint-format-{FORMAT}")
print(path, state_digest(verified(path)))
