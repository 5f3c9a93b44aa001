"""A run with language models keeps the garbage collector off what JAX and the engine hold."""

import gc

import pytest
from support.runs import HYBRID, At

import jaxecon as je


@pytest.fixture
def nothing_frozen():
    """The tests freeze what they have imported (tests/conftest.py); a user's process does not."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_it_is_frozen_during_the_run_alone(nothing_frozen, tmp_path):
    during, before = [], len(gc.get_objects())
    listener = At(lambda: during.append(gc.get_freeze_count()), year=1, day=2)
    je.run(HYBRID, out=tmp_path / "run", listener=listener)
    assert during[0] > 0.9 * before
    assert gc.get_freeze_count() == 0


def test_what_the_caller_has_frozen_stays_so(nothing_frozen, tmp_path):
    gc.freeze()
    before = gc.get_freeze_count()
    je.run({**HYBRID, "years": 1}, out=tmp_path / "run")
    # objects that the run has made no longer needed leave the count
    assert 0.9 * before < gc.get_freeze_count() <= before
