"""The configuration: round trip, shares, and one clear line for every mistake."""

import pytest
import yaml

from jaxecon.config.read import load_config, to_yaml
from jaxecon.core.errors import UserError


def test_defaults_survive_yaml(tmp_path):
    config = load_config()
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_config(path) == config


def test_overrides_win_over_the_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "years": 7,
                "year": {"days": 3},
                "population": {"cohorts": [{"name": "a", "rule": "fixed", "size": 2}]},
            }
        )
    )
    config = load_config(
        path,
        [
            "year.days=5",
            "population.cohorts.0.size=9",
            "schedule.rates=[0.1, .2, .3, 0.4, 0.5, 0.6, 1]",
        ],
    )
    assert (config.years, config.year.days, config.cohorts[0].size) == (7, 5, 9)
    assert config.schedule.rates == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0)


def test_head_counts_become_cohorts():
    config = load_config({"population": {"mechanical": 5, "llm": 2}})
    assert [(c.name, c.rule, c.size) for c in config.cohorts] == [
        ("adaptive", "adaptive", 3),
        ("quantal", "quantal", 2),
        ("llm", "llm", 2),
    ]


@pytest.mark.parametrize(
    ("population", "expected"),
    [
        ({"mechanical": 4, "llm": 2}, {"adaptive": 0.4, "quantal": 0.4, "llm": 0.2}),
        ({"mechanical": 4, "llm": 0}, {"adaptive": 0.5, "quantal": 0.5}),
        ({"mechanical": 0, "llm": 3}, {"llm": 1.0}),
        (
            {"mechanical": 4, "llm": 2, "shares": {"llm": 0.5, "adaptive": 0.1}},
            {"adaptive": 0.1, "quantal": 0.4, "llm": 0.5},
        ),
        (
            {
                "cohorts": [
                    {"name": "a", "rule": "llm", "size": 1},
                    {"name": "b", "rule": "llm", "size": 3},
                    {"name": "c", "rule": "fixed", "size": 9},
                ],
                "shares": {"llm": 0.4},
            },
            {"a": 0.1, "b": 0.3, "c": 0.6},
        ),
    ],
)
def test_shares(population, expected):
    assert load_config({"population": population}).shares == pytest.approx(expected)


COHORT = "population.cohorts=[{name: a, rule: %s, size: %s}]"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("yeers=3", "yeers: no such setting; did you mean 'years'?"),
        ("year.dys=3", "year.dys: no such setting; did you mean 'days'? one of days"),
        ("years=0", "years: 0; a whole number in [1, 10,000,000]"),
        ("years=two", "years: 'two'; a whole number in [1, 10,000,000]"),
        ("seed=-1", "seed: -1; a whole number in [0, 4,294,967,296)"),
        ("year=3", "year: 3; a section with days"),
        ("population.llm=-1", "population.llm: -1; a whole number in [0, 100,000]"),
        ("schedule.rates=1.5", "schedule.rates: 1.5; a number or a list of numbers in [0, 1] or"),
        ("schedule.rates=.nan", "schedule.rates: nan; a number or a list of numbers in [0, 1] or"),
        (
            "schedule.rates=[0.1, -0.2, 0, 0, 0, 0, 0]",
            "schedule.rates.1: -0.2; a number in [0, 1]",
        ),
        (
            "schedule.rates=[0.1, 0.2]",
            "schedule.rates: 2 rates for 7 brackets; one for all, or one per bracket",
        ),
        (
            "schedule.brackets=[0, 5, 3]",
            "schedule.brackets: [0.0, 5.0, 3.0]; flat, three, us_federal, or thresholds in "
            "$/year: the first 0",
        ),
        ("schedule.brackets=[1, 5]", "schedule.brackets: [1.0, 5.0];"),
        (
            "schedule.brackets=tree",
            "schedule.brackets: 'tree'; one of flat, three, us_federal or a list",
        ),
        ("welfare.function=rawls", "welfare.function: 'rawls'; one of inverse_income,"),
        ("welfare.floor=0", "welfare.floor: 0; a number in [0.01, 1,000,000,000,000]"),
        (
            "preferences.disutility_exponent=1",
            "preferences.disutility_exponent: 1; a number in (1, 20]",
        ),
        (
            "preferences.disutility_exponent=.inf",
            "preferences.disutility_exponent: inf; a number in (1, 20]",
        ),
        ("population.shares.lm=0.3", "population.shares.lm: no such cohort; did you mean 'llm'?"),
        (
            "population.shares.llm=1",
            "every cohort's share must be at least 1e-09 and all must sum to 1",
        ),
        (COHORT % ("quantl", 3), "population.cohorts.0.rule: 'quantl'; did you mean 'quantal'?"),
        (
            COHORT % ("quantal", 0),
            "population.cohorts.0.size: 0; a whole number in [1, 100,000,000]",
        ),
        (
            "population.cohorts=[{name: a, rule: fixed}]",
            "population.cohorts.0.size: missing; a whole number in [1, 100,000,000]",
        ),
        (
            "population.cohorts=[{name: A!, rule: fixed, size: 1}]",
            "population.cohorts.0.name: 'A!'; lower-case letters",
        ),
        (
            "population.cohorts=[{name: a, rule: fixed, size: 1}, {name: a, rule: fixed, size: 1}]",
            "name 'a' is given 2 times",
        ),
        ("population.cohorts=[]", "population: 0 agents"),
        (
            "population.skills=file",
            "population.file: None; give it with population.skills=file, and only then",
        ),
        (
            "preferences={consumption_curvature: 2}\nprecision=float32",
            "precision: 'float32'; preferences.consumption_curvature above 1",
        ),
        (
            "welfare.function=atkinson\npreferences.consumption_curvature=1",
            "welfare.function: 'atkinson'; its floor is in $/year",
        ),
        ("precision=float16", "precision: 'float16'; one of auto, float32, float64"),
        ("years", "--set 'years': needs the form key=value"),
        ("years=[", "--set years: '[' is not a YAML value"),
        ("seed.x=1", "seed: {'x': 1}; a whole number in"),
    ],
)
def test_a_mistake_gets_one_line(override, message):
    with pytest.raises(UserError) as caught:
        load_config(None, override.split("\n"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["llm.api_key_env", "llm.others.big.api_key_env"])
@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcSECRET",
        "gsk_abcSECRET",
        "hf_SECRETabc",
        "12345678",
        "[SECRET]",
        "{SECRET: 1}",
        "[SECRET",
        "null",
        "",
    ],
)
def test_a_key_in_the_place_of_its_name_is_not_shown(setting, key):
    given = ["llm.others={big: {engine: openai}}", f"{setting}={key}"]
    for override in (given, [given[0], f"{setting}:{key}SECRET"]):
        with pytest.raises(UserError) as caught:
            load_config(None, override)
        said = str(caught.value)
        assert "\n" not in said
        assert not any(secret in said for secret in ("SECRET", "abc", "12345678"))
        assert "api_key_env" in said
        if override is given and key != "[SECRET":
            assert f"{setting}: the NAME of an environment variable, like OPENAI_API_KEY" in said


def test_zero_agents():
    with pytest.raises(UserError, match="population: 0 agents"):
        load_config({"population": {"mechanical": 0, "llm": 0}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("years: 2\nyears: 3", "line 2: years is given twice"),
        ("1: 2", "1: no such setting"),
        ("years: [", "line 1"),
        ("- 1\n- 2\n", "holds a list"),
        (b"\xff\xfe", "not a text file in UTF-8"),
        (None, "No such file"),
    ],
)
def test_unreadable_files(tmp_path, text, message):
    path = tmp_path / "broken.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message):
        load_config(path)


def test_several_mistakes_are_counted():
    with pytest.raises(UserError, match=r"\(and 1 more\)"):
        load_config(None, ["years=0", "seed=-1"])
