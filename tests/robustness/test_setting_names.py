"""A key that names no setting gets one line with the nearest name, whatever it is made of."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxecon.config.fields import check_name, setting_names
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError

NEAREST = "did you mean {!r}?"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("population.cohorts[0].size=5", NEAREST.format("population.cohorts.0.size")),
        ("population.cohorts['0']['size']=5", NEAREST.format("population.cohorts.0.size")),
        ("schedule[rates]=0.5", NEAREST.format("schedule.rates")),
        ("schedule[rate]=0.5", NEAREST.format("schedule.rates")),
        ("[0].size=3", "dots lead into sections and lists"),
        ("float=3", "float: no such setting; one of seed"),
        ("year.float=3", "year.float: no such setting; one of days"),
        ("..=3", "no such setting"),
        ("year..days=3", "year.: no such setting; one of days"),
        ("population.cohorts.²=3", "population.cohorts: {'²': 3}; a list or unset"),
        ("x\x1b[31my=3", "no such setting"),
        ("llm.api_key_env[sk-SECRET]=3", "...api_key_env...: no such setting"),
    ],
)
def test_a_wrong_name_gets_the_nearest(override, message):
    with pytest.raises(UserError) as caught:
        load_config(None, [override])
    assert message in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a[0]": 3}, "a[0]: no such setting; one of seed"),
        ({"[red]x[/red]": 3}, "[red]x[/red]: no such setting"),
        ({"tuple[int, ...]": 3}, "tuple[int, ...]: no such setting"),
        ({"constrained-int": 3}, "constrained-int: no such setting"),
        ({"int": {"float": 3}}, "int: no such setting; one of seed"),
        ({5: {}}, "5: no such setting; one of seed"),
        ({None: {}}, "None: no such setting"),
        ({"year": {5: 3}}, "year: 5: no such setting; one of days"),
        ({"population": {"shares": {3: 0.5}}}, "population.shares: 3: no such setting; names are"),
        ({"years": b"3"}, "years: b'3'; a whole number in"),
        ({"seed": 10**5000}, "a whole number of 5,001 digits"),
        ({"seed": -(10**5000)}, "a whole number of 5,001 digits"),
    ],
)
def test_a_wrong_key_of_a_mapping_is_named(tree, message):
    with pytest.raises(UserError) as caught:
        load_config(tree)
    assert message in str(caught.value)


def test_a_mapping_that_contains_itself_is_refused():
    tree = {}
    tree["year"] = tree
    with pytest.raises(UserError, match="more than 40 lists or mappings"):
        load_config(tree)


def test_every_listed_name_is_one():
    cohort = {"name": "a", "rule": "fixed", "size": 2}
    question = {"name": "a", "ask": "b", "text": 9}
    tree = {"population": {"cohorts": [cohort]}, "survey": {"questions": [question]}}
    for name in setting_names():
        check_name(name, tree)


KEYS = st.text("[]'\"._0123²٣ab\x1b\x00\n ", max_size=8) | st.sampled_from(list(setting_names()))
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    VALUES, lambda p: st.lists(p, max_size=3) | st.dictionaries(KEYS, p, max_size=3), max_leaves=5
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS | st.integers() | st.none(), VALUES, max_size=3), KEYS, KEYS)
def test_any_mapping_is_settings_or_one_line(tree, key, value):
    for source, overrides in ((tree, []), (None, [f"{key}={value}"]), (tree, [f"{key}={value}"])):
        said = ""
        try:
            load_config(source, overrides)
        except UserError as error:
            said = str(error)
        assert len(said.splitlines()) <= 1
