"""Personas: the joint distribution against loops and closed forms, the sample against the joint,
words against facts.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, spearmanr

import llm
from llm.agents.personas import Persona, employment, fit_margins, persona_text, sample_personas

SEXES = {"man": "men", "woman": "women"}
MERGED = "production, transportation and material moving"


@pytest.fixture(scope="module")
def tables():
    with open(
        os.path.join(os.path.dirname(llm.__file__), "agents", "data", "us_employment.json"),
        encoding="utf-8",
    ) as file:
        return json.load(file)


@pytest.fixture(scope="module")
def shares(tables):
    """Occupation x sex and row x age as shares of all, by name, without NumPy."""
    result = []
    for rows, columns, employed in (
        (tables["by_sex"]["occupations"], ["men", "women"], tables["by_sex"]["employed"]),
        (tables["by_age"]["occupations"], range(7), tables["by_age"]["employed"]),
    ):
        people = sum(employed[c] for c in columns)
        sums = {c: sum(row[c] for row in rows.values()) for c in columns}
        result.append(
            {
                (o, c): row[c] / sums[c] * employed[c] / people
                for o, row in rows.items()
                for c in columns
            }
        )
    return result


def row_of(occupation):
    return (
        MERGED if occupation in ("production", "transportation and material moving") else occupation
    )


def row_totals(occupation_sex):
    totals = Counter()
    for (occupation, _), share in occupation_sex.items():
        totals[row_of(occupation)] += share
    return totals


def raked(row_age, rows):
    """Row x age scaled by turns to the totals of rows and to its own totals of ages."""
    ages = {a: sum(share for (_, b), share in row_age.items() if a == b) for a in range(7)}
    table = dict(row_age)
    for _ in range(200):
        for axis, totals in ((0, rows), (1, ages)):
            sums = Counter()
            for key, share in table.items():
                sums[key[axis]] += share
            table = {
                key: share * totals[key[axis]] / sums[key[axis]] for key, share in table.items()
            }
    return table


def pay_of(personas):
    people = employment()
    pay = {
        (o, s): people.pay[i, j]
        for i, o in enumerate(people.occupations)
        for j, s in enumerate(people.sexes)
    }
    return np.array([pay[p.occupation, p.sex] for p in personas])


def test_every_table_names_its_source_and_year(tables):
    for table, number, year in (
        ("by_sex", "cpsaat10", 2022),
        ("by_age", "cpsaat10b", 2025),
        ("weekly_pay", "cpsaat39", 2025),
    ):
        source = tables["source"][table]
        assert "Bureau of Labor Statistics" in source
        assert f"({number})" in source
        assert f"annual averages {year}" in source


def test_the_tables_agree_with_themselves_and_with_each_other(tables, shares):
    by_sex, by_age = tables["by_sex"]["occupations"], tables["by_age"]["occupations"]
    for column in ("total", "men", "women"):  # each percent is rounded to 0.1
        assert sum(row[column] for row in by_sex.values()) == pytest.approx(
            100, abs=0.05 * len(by_sex)
        )
    for column in range(7):
        assert sum(row[column] for row in by_age.values()) == pytest.approx(
            100, abs=0.05 * len(by_age)
        )
    for row in [*by_sex.values(), *tables["weekly_pay"].values()]:
        assert (
            row["women"] <= row["total"] <= row["men"] or row["men"] <= row["total"] <= row["women"]
        )
    in_2022, in_2025 = row_totals(shares[0]), Counter()
    for (row, _), share in shares[1].items():
        in_2025[row] += share
    assert in_2022.keys() == in_2025.keys()
    assert max(abs(in_2022[row] - in_2025[row]) for row in in_2022) < 0.0065


def test_margins_are_the_published_ones(shares):
    people = employment()
    assert people.joint.shape == (10, 2, 7)
    assert people.joint.sum() == pytest.approx(1, abs=1e-12)
    for (i, o), (j, s) in product(enumerate(people.occupations), enumerate(people.sexes)):
        assert people.joint[i, j].sum() == pytest.approx(shares[0][o, SEXES[s]], abs=1e-9)
    for a in range(7):
        of_age = sum(share for (_, b), share in shares[1].items() if a == b)
        assert people.joint[..., a].sum() == pytest.approx(of_age, abs=1e-9)


def test_occupation_and_age_keep_the_odds_ratios_of_the_table_of_2025(shares):
    people, by_row = employment(), {}
    for o, by_age in zip(people.occupations, people.joint.sum(1), strict=True):
        by_row[row_of(o)] = by_row.get(row_of(o), 0) + by_age
    fitted = np.log(list(by_row.values()))
    table = np.log([[shares[1][row, a] for a in range(7)] for row in by_row])
    scale = fitted - table  # a factor of the row times a factor of the age
    interaction = scale - scale.mean(0) - scale.mean(1, keepdims=True) + scale.mean()
    np.testing.assert_allclose(interaction, 0, atol=1e-9)


def test_joint_is_its_closed_form(shares):
    """Given the occupation, sex and age are independent: the maximum of entropy under these
    margins.
    """
    people, rows = employment(), row_totals(shares[0])
    row_age = raked(shares[1], rows)
    for (i, o), (j, s), a in product(
        enumerate(people.occupations), enumerate(people.sexes), range(7)
    ):
        expected = shares[0][o, SEXES[s]] * row_age[row_of(o), a] / rows[row_of(o)]
        assert people.joint[i, j, a] == pytest.approx(expected, abs=1e-12)


@given(
    st.sampled_from([(o, o) for o in range(10)] + [(8, 9)]),
    st.permutations([0, 1]),
    st.permutations(range(7)),
    st.floats(-0.9, 0.9).filter(lambda x: abs(x) > 1e-3),
)
def test_any_other_joint_with_these_margins_has_less_entropy(occupations, sexes, ages, size):
    (one, other), (s, t), (a, b, *_) = occupations, sexes, ages
    joint = employment().joint
    changed = joint.copy()
    step = size * min(joint[o, sex, age] for o, sex in ((one, s), (other, t)) for age in (a, b))
    changed[one, s, [a, b]] += (step, -step)
    changed[other, t, [a, b]] += (-step, step)
    assert -(changed * np.log(changed)).sum() < -(joint * np.log(joint)).sum()


@given(st.floats(0.01, 100))
def test_fit_of_a_two_by_two_table_is_its_closed_form(odds_ratio):
    row, column = np.indices((2, 2))
    fitted = fit_margins(
        np.array([[odds_ratio, 1], [1, 1]]), [(row, np.full(2, 0.5)), (column, np.full(2, 0.5))]
    )
    like = np.sqrt(odds_ratio) / (2 * (1 + np.sqrt(odds_ratio)))
    np.testing.assert_allclose(fitted, [[like, 0.5 - like], [0.5 - like, like]], atol=1e-9)


def test_fit_to_contradictory_margins_raises():
    """Rows sum to 1.1 and columns, which come last, to 1: the first row stays at 0.6/1.1."""
    row, column = np.indices((2, 2))
    with pytest.raises(RuntimeError, match=r"margins missed by 5\.5e-02 after 50 sweeps"):
        fit_margins(
            np.ones((2, 2)),
            [(row, np.array([0.6, 0.5])), (column, np.array([0.5, 0.5]))],
            sweeps=50,
        )


def test_employment_is_computed_once_and_cannot_be_changed(tables):
    people = employment()
    assert people is employment()
    assert not people.joint.flags.writeable
    assert people.ages == ((16, 19), (20, 24), (25, 34), (35, 44), (45, 54), (55, 64), (65, 79))
    for i, occupation in enumerate(people.occupations):
        assert list(people.pay[i]) == [tables["weekly_pay"][occupation][s] for s in SEXES.values()]


@pytest.mark.parametrize("correlation", [0, 0.5, 0.9, -0.5])
def test_rank_correlation_of_skill_and_pay(correlation):
    """Mean of 4 samples: standard error 0.004 at most.

    The factor is what ties in pay take away (mean ranks).
    """
    rng = np.random.default_rng(0)
    measured = []
    for seed in range(4):
        skill = rng.lognormal(size=20_000)
        personas = sample_personas(skill, seed=seed, cohort="llm", correlation=correlation)
        measured.append(spearmanr(skill, pay_of(personas)).statistic)
    factor = np.sqrt(1 - (employment().joint.sum(2) ** 3).sum())
    assert factor == pytest.approx(0.996, abs=5e-4)
    assert np.mean(measured) == pytest.approx(factor * correlation, abs=0.01)


@pytest.mark.parametrize("correlation", [1, -1])
def test_full_correlation_sorts_people_by_pay(correlation):
    pay = pay_of(sample_personas(np.arange(5000.0), seed=1, cohort="llm", correlation=correlation))
    assert (np.diff(correlation * pay) >= 0).all()


@pytest.mark.parametrize("correlation", [0, 0.9])
def test_people_have_the_joint_distribution_whatever_the_tie(correlation):
    n, people = 50_000, employment()
    personas = sample_personas(np.linspace(1, 9, n), seed=2, cohort="llm", correlation=correlation)
    group = {age: a for a, (low, high) in enumerate(people.ages) for age in range(low, high + 1)}
    counts = Counter((p.occupation, p.sex, group[p.age]) for p in personas)
    cells = list(product(people.occupations, people.sexes, range(7)))
    observed, expected = np.array([counts[cell] for cell in cells]), n * people.joint.ravel()
    large = expected >= 5
    assert large.sum() > 120
    observed = np.append(observed[large], observed[~large].sum())
    expected = np.append(expected[large], expected[~large].sum())
    assert chisquare(observed, expected).pvalue > 0.01


def test_age_is_uniform_within_its_group():
    counts = Counter(p.age for p in sample_personas(np.ones(50_000), seed=3, cohort="llm"))
    for low, high in employment().ages:
        assert chisquare([counts[age] for age in range(low, high + 1)]).pvalue > 0.001
    assert (min(counts), max(counts)) == (16, 79)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from([1, 2, 7, 60]).flatmap(
        lambda n: st.lists(st.sampled_from([0.0, 1.0, 2.5, 1e6]), min_size=n, max_size=n)
    ),
    st.floats(-1, 1),
    st.integers(0, 2**31),
)
def test_skills_and_correlation_decide_only_who_goes_where(skill, correlation, seed):
    skill = np.array(skill)
    personas = sample_personas(skill, seed=seed, cohort="llm", correlation=correlation)
    assert len(personas) == len(skill)
    assert personas == sample_personas(2 * skill, seed=seed, cohort="llm", correlation=correlation)
    assert Counter(personas) == Counter(
        sample_personas(np.ones(len(skill)), seed=seed, cohort="llm", correlation=0)
    )


def test_constant_skill_leaves_no_trend_along_the_index():
    pay = pay_of(sample_personas(np.ones(20_000), seed=4, cohort="llm", correlation=1))
    assert abs(spearmanr(np.arange(20_000), pay).statistic) < 0.02


def test_seed_and_cohort_give_other_people():
    skill = np.arange(100.0)
    samples = [
        sample_personas(skill, seed=s, cohort=c) for s, c in ((0, "llm"), (1, "llm"), (0, "other"))
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert sum(p == q for p, q in zip(samples[one], samples[other], strict=True)) < 10


@pytest.mark.parametrize("x64", ["0", "1"])
def test_another_process_and_precision_give_the_same_people(x64):
    """PYTHONHASHSEED differs, too."""
    program = (
        "import numpy as np; from llm.agents.personas import sample_personas as s; "
        "print(s(np.arange(300.) % 7, seed=5, cohort='llm'))"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": f"1{x64}",
        "JAX_ENABLE_X64": x64,
        "JAX_PLATFORMS": "cpu",
    }
    root = os.path.dirname(os.path.dirname(llm.__file__))
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed.strip() == str(sample_personas(np.arange(300.0) % 7, seed=5, cohort="llm"))


@pytest.mark.parametrize("correlation", [1.01, -2, float("nan"), float("inf")])
def test_correlation_out_of_range_is_refused(correlation):
    with pytest.raises(
        ValueError, match=r"^population\.personas\.correlation: (1\.01|-2|nan|inf); -1 to 1$"
    ):
        sample_personas(np.ones(3), seed=0, cohort="llm", correlation=correlation)


def test_text_has_every_fact():
    people = employment()
    everyone = [
        Persona(o, s, age) for o, s, age in product(people.occupations, people.sexes, range(16, 80))
    ]
    for persona in everyone:
        text = persona.text
        assert text == persona_text(persona)
        assert f" {persona.age}-year-old {persona.sex} who works in " in text
        assert persona.occupation.split(" ")[0].rstrip(",") in text
        years = persona.years_in_work
        assert text.endswith(
            ". You are new to work."
            if years == 0
            else f". You have worked for {years} year{'s'[: years - 1]}."
        )
        assert 14 <= len(text.split()) <= 26
    assert len({persona.text for persona in everyone}) == len(everyone)


def test_text_reads_as_written():
    assert (
        Persona("production", "man", 80).text
        == "You are an 80-year-old man who works in production. You have worked for 62 years."
    )
    assert Persona("office and administrative support", "woman", 43).text == (
        "You are a 43-year-old woman who works in office and administrative support. You have "
        "worked for 25 years."
    )
    assert Persona("professional and related", "man", 18).text == (
        "You are an 18-year-old man who works in a professional occupation such as engineering, "
        "teaching, law or health care. "
        "You are new to work."
    )
    assert Persona("management, business and financial operations", "man", 23).text.endswith(
        "You have worked for 1 year."
    )
