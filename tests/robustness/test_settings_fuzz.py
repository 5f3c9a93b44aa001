"""The inputs of `python -m experiments.fuzz`: a few on each reader, and that a crash is noticed."""

import pytest

from experiments.benchmarks.fuzz import Tried, keep_crashes, table, try_batch
from experiments.benchmarks.fuzz_readers import NAMES, Broken, Reader, check, readers
from jaxecon.core.errors import UserError

INPUTS = 60
TESTED = NAMES


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return readers(tmp_path_factory.mktemp("fuzz"), TESTED)


@pytest.mark.parametrize("name", TESTED)
def test_readers_take_inputs_or_refuse_them_in_one_line(made, name):
    result = Tried(name)
    try_batch(result, made[name], 0, INPUTS)
    assert result.crashes == {}
    assert result.inputs >= INPUTS


@pytest.mark.parametrize("name", TESTED)
def test_right_inputs_are_taken(made, name):
    assert any(check(made[name], data) for data in made[name].seeds)


def _breaks(data):
    if len(data) > 40:
        raise KeyError(data)


def _says_two_lines(data):
    error = UserError("a")
    error.args = ("a\nb",)
    raise error


def test_what_breaks_is_kept(tmp_path):
    result = Tried("broken")
    try_batch(result, Reader(_breaks, [b"x" * 50]), 0, 100)
    assert len(result.crashes) == 1
    assert result.taken > 0
    (line,) = keep_crashes([result], tmp_path)
    assert "KeyError" in line
    assert len((tmp_path / "broken-0").read_bytes()) > 40
    assert "1 crash" in table([result])
    with pytest.raises(Broken, match="not one line"):
        check(Reader(_says_two_lines, []), b"")
