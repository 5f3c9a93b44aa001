"""Arguments of another kind, from Python and on the command line, get one line."""

import inspect
import typing

import pytest

import jaxecon as je
from jaxecon.cli.app import _COMMANDS, app
from jaxecon.core.errors import UserError
from jaxecon.core.text import plural
from jaxecon.sweeps import design

OPENERS = {
    "run": {"config": None, "out": "new"},
    "resume": {"path": "run"},
    "replay": {"path": "run"},
    "branch": {"path": "run", "year": 1, "out": "new"},
    "sweep": {"design": {"seeds": 2}, "out": "new"},
    "load": {"path": "run"},
    "digest": {"run": "run"},
    "Sweep": {"path": "run"},
}
WRONG = {
    "path": (5, None, b"run", "a\0b", "\udcff", [], 1.5),
    "run": (5, None, b"run", ["run"]),
    "out": (5, b"run", "a\0b", "\udcff", ["run"], True),
    "config": (5, b"run", ["a"], {"years": 10**5000}, {5: 6}),
    "design": (None, 5, [], b"x", {"run": 5, "seeds": 2}, {1: 2}, {"seeds": True}),
    "overrides": ([3], 3, "years=3", [None], [["years=3"]], {"years": 3}),
    "year": ("2", 2.0, None, True, [1]),
    "seeds": ("2", 0, -1, 10**30, None, True),
    "chunk_size": ("2", 0, 10**5000, 1.5, True),
    "max_points": ("2", None, 0.5),
    "force": ("yes", 1, None),
    "listener": (5, "x"),
    "engine": (5, "vllm"),
    "executor": (5, "ray"),
    "tell": (5,),
}
CASES = [
    (function, name, value)
    for function in OPENERS
    for name in inspect.signature(getattr(je, function)).parameters
    for value in WRONG[name]
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_a_public_function_refuses_what_is_of_another_kind(tmp_path, monkeypatch, number):
    function, name, value = CASES[number]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        getattr(je, function)(**{**OPENERS[function], name: value})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert not list(tmp_path.iterdir())


# options that set a setting, whose own range is checked, or that their function checks
CHECKED_LATER = {"seed", "budget_tokens", "budget_usd", "grid_step", "branch.year"}


def test_every_number_of_every_command_has_bounds():
    bounded = 0
    for command in _COMMANDS:
        for name, hint in typing.get_type_hints(command, include_extras=True).items():
            kind, *marks = typing.get_args(hint) or (hint,)
            kinds = {kind, *typing.get_args(kind)}
            if {int, float}.isdisjoint(kinds) or {
                name,
                f"{command.__name__}.{name}",
            } & CHECKED_LATER:
                continue
            assert all(mark.min is not None and mark.max is not None for mark in marks), name
            bounded += 1
    assert bounded > 8


@pytest.mark.parametrize("value", ["99999999999999999999", "-1", "1.5", "x", "9" * 5000])
@pytest.mark.parametrize("option", ["--year", "--day", "--agent"])
def test_numbers_of_the_transcript_command(option, value, capsys):
    with pytest.raises(SystemExit) as ended:
        app(["transcript", "no-such-run", option, value])
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert option in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--seed", "99999999999999999999"],
        ["run", "--budget-usd", "nan"],
        ["run", "--budget-tokens", "99999999999999999999999"],
        ["sweep", "--summary", "--out", "x", "--level", "nan"],
        ["branch", "no-such-run", "--out", "x", "--year", "99999999999999999999"],
    ],
)
def test_numbers_out_of_range_of_settings(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"seeds": 0}, "seeds: 0; "),
        ({"seeds": True}, "seeds: true; a whole number of at least 1"),
        ({"seeds": "3"}, 'seeds: "3"; a whole number of at least 1'),
        ({"random": {"points": True, "settings": {"seed": [1]}}}, "random.points: true; "),
        ({"random": {"points": 2, "seed": True, "settings": {"seed": [1]}}}, "random.seed: true"),
        ({"grid": {"seed": True}}, 'grid: {"seed": true}; '),
        ({5: 3}, "5: "),
        ({"grid": {5: [3]}}, "grid.5"),
    ],
)
def test_designs(tree, message):
    with pytest.raises(UserError) as caught:
        design.read(tree)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plurals():
    assert [plural(n, "year") for n in (0, 1, 2, 2000)] == [
        "0 years",
        "1 year",
        "2 years",
        "2,000 years",
    ]
    assert plural(2, "is", "are") == "2 are"
