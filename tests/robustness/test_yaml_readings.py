"""YAML is read as YAML 1.2 says, in bounded time, and a wrong file or value gets one line."""

import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxecon.config.read import apply, load_config, read_yaml, to_yaml
from jaxecon.config.yaml_text import MAX_BYTES, yaml_text, yaml_value
from jaxecon.core.errors import UserError
from jaxecon.sweeps import design


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0777", 777),
        ("010", 10),
        ("-07", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e4", 1e4),
        ("1E-3", 1e-3),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", float("-inf")),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("2024-01-01", "2024-01-01"),
        ("12:30:45", "12:30:45"),
        ("=", "="),
        *((word, word) for word in ("yes", "no", "on", "off", "Y", "n", "YES", "tRUE")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, None) for word in ("", "~", "null", "Null")),
        ("{<<: {a: 1, b: 2}, a: 3}", {"a": 3, "b": 2}),
        ("{a: 3, <<: [{a: 1}, {a: 2, c: 4}]}", {"a": 3, "c": 4}),
        ("{a: &x {b: 1}, c: *x}", {"a": {"b": 1}, "c": {"b": 1}}),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text, value):
    assert yaml_value(text) == value
    assert type(yaml_value(text)) is type(value)


WORDS = st.text("01x_o:.-+eEnyYtTfals~<{}[]#&*!%@ \t\n'\"é\x85", max_size=8)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(WORDS, part, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(TREES)
def test_what_is_written_reads_the_same_also_by_yaml_1_1(tree):
    assert yaml_value(yaml_text(tree)) == tree
    assert yaml.safe_load(yaml_text(tree)) == tree


@settings(max_examples=100, deadline=None)
@given(TREES)
def test_files_of_earlier_versions_read_the_same(tree):
    text = yaml.safe_dump(tree, sort_keys=False)
    words = [event.value for event in yaml.parse(text) if isinstance(event, yaml.ScalarEvent)]
    # 0o7 and 1e5 were written plain, and only YAML 1.2 takes them for numbers
    if not any("o" in word or "e" in word.lower() for word in words):
        assert yaml_value(text) == tree


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "".join(
    f"{new}: &{new}\n  <<: [{', '.join(['*' + old] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "digits": ("seed: " + "9" * 5000, "a whole number of 5,000 digits; at most 300"),
    "hexadecimal": ("seed: 0x" + "F" * 4000, "digits; at most 300"),
    "lists": ("[" * 3000 + "]" * 3000, "more than 40 lists or mappings in each other"),
    "open lists": ("[" * 200_000, "more than 40 lists or mappings in each other"),
    "mappings": ("{a: " * 3000 + "}" * 3000, "more than 40 lists or mappings in each other"),
    "dashes": ("- " * 200_000, "more than 40 lists or mappings in each other"),
    "aliases": (BOMB, "more than 500,000 values"),
    "recursive": ("a: &a {b: *a}", "recursive"),
    "twice": ("year:\n  days: 3\n  days: 4\n", "line 3: days is given twice"),
    "twice as texts": ("years: 3\n'years': 4\n", "line 2: years is given twice"),
    "unhashable": ("? [1]\n: 2\n", "line 1: a key that is a list"),
    "merged text": ("<<: 3", "line 1: a merge key"),
    "object": ("a: !!python/object:os.x 1", "could not determine a constructor"),
    "tagged": ("seed: !!int abc", "'abc' is not a whole number"),
    "two documents": ("--- 1\n--- 2", "another document"),
    "control character": ("a: \x00", "it holds the character"),
    "large": ("#" * (MAX_BYTES + 1), "more than 1,000,000 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("reader", [load_config, design.read])
def test_a_file_that_cannot_be_settings_gets_one_line_in_seconds(tmp_path, name, reader):
    text, message = REFUSED[name]
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    begun = time.process_time()
    with pytest.raises(UserError) as caught:
        reader(path)
    said = str(caught.value)
    assert message in said
    assert str(path) in said
    assert "\n" not in said
    assert len(said) < 400 + len(str(path))
    assert time.process_time() - begun < 20


def test_merges_of_merges_are_bounded():
    assert yaml_value("a: &a {x: 1}\n" + MERGES)["i"] == {"x": 1}


@pytest.mark.parametrize("kind", ["device", "folder", "pipe"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(UserError, match="not a file"):
        read_yaml({"device": Path("/dev/zero"), "folder": tmp_path, "pipe": path}[kind])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("year.days=yes", "year.days: 'yes'; a whole number in"),
        ("years=1:30", "years: '1:30'; a whole number in"),
        ("years=1_000", "years: '1_000'; a whole number in"),
        ("years='3'", "years: '3'; a whole number in"),
        ("years=true", "years: True; a whole number in"),
        ("devices='2'", "devices: '2'; all or a whole number"),
        ("planner.monotone=yes", "planner.monotone: 'yes'; true or false"),
        ("planner.monotone=1", "planner.monotone: 1; true or false"),
        ("record.sample=1e400", "record.sample: inf; "),
        ("schedule.rates=['0.5']", "schedule.rates: ['0.5']; a number or a list"),
        ("population.shares={llm: '0.5'}", "population.shares: {'llm': '0.5'}; a mapping"),
        (f"seed={'9' * 5000}", "a whole number of 5,000 digits"),
        (f"years={'[' * 2000}", "more than 40 lists"),
    ],
)
def test_a_value_of_another_kind_is_refused(override, message):
    with pytest.raises(UserError) as caught:
        load_config(None, [override])
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_stored_settings_with_words_of_both_versions_survive(tmp_path):
    words = ["yes", "0o17", "1e5", "0777", "1:30", "2024-01-01", "true", "~", "1_0", "0x1F"]
    questions = [{"name": "a", "ask": "1e5", "choices": words}]
    config = load_config({"survey": {"questions": questions}, "llm": {"model": "0o17"}})
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_config(path) == config


def test_the_same_reading_in_designs_and_options(tmp_path):
    path = tmp_path / "design.yaml"
    path.write_text("run: {seed: 0777}\ngrid:\n  seed: [010, 0x1F]\n")
    read = design.read(path, ["years=011"])
    assert (read.run, read.grid) == ({"seed": 777, "years": 11}, {"seed": [10, 31]})
    tree = {}
    apply(tree, "a.b=no")
    assert tree == {"a": {"b": "no"}}
