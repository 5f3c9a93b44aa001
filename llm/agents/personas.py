"""Who the workers are: occupation, sex and age, drawn from published tables.

The tables are of the employed in the United States. docs/personas.md has the tables, how they are
reconciled, and what a persona is not.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from scipy.special import ndtri

from jaxecon.core.draws import draw, named_key
from jaxecon.core.jax_settings import usual_settings
from jaxecon.core.text import plural

_COLUMNS = {"man": "men", "woman": "women"}  # sex of a person -> column of the tables
_OLDEST = 79  # stands in for the open end of the last age group
_PRODUCTION_AND_TRANSPORTATION = (
    "production, transportation and material moving"  # one row where the other tables have two
)
_ROW_BY_AGE = {
    "production": _PRODUCTION_AND_TRANSPORTATION,
    "transportation and material moving": _PRODUCTION_AND_TRANSPORTATION,
}

# Groups whose names do not say what people work in, with examples from the Census classification.
_WORKS_IN = {
    "professional and related": "a professional occupation such as engineering, teaching, law or "
    "health care",
    "service": "a service occupation such as care, security, cooking or cleaning",
    "sales and related": "sales or a related occupation",
}
_GRADUATE = ("management, business and financial operations", "professional and related")


@dataclass(frozen=True, eq=False)
class Employment:
    """The employed population.

    occupations: (o,) names; sexes: ("man", "woman"); ages: (a,) groups, both ends included, years;
    joint: (o, 2, a) shares of the employed, sum 1; pay: (o, 2) median usual weekly earnings of
    full-time workers, dollars.
    """

    occupations: tuple[str, ...]
    sexes: tuple[str, ...]
    ages: tuple[tuple[int, int], ...]
    joint: np.ndarray
    pay: np.ndarray


@dataclass(frozen=True)
class Persona:
    """One worker. sex: "man" or "woman"; age: years."""

    occupation: str
    sex: str
    age: int

    @property
    def years_in_work(self) -> int:
        """Years since the usual end of education: potential experience (Mincer 1974).

        This is an assumption, not a published number: work begins at 22 in the two groups where a
        degree is usual, and at 18 in the others.
        """
        return max(self.age - (22 if self.occupation in _GRADUATE else 18), 0)

    @property
    def text(self) -> str:
        return persona_text(self)


def persona_text(persona: Persona) -> str:
    """The person in two sentences, in the second person. The same facts give the same text."""
    article = "an" if persona.age in (18, *range(80, 90)) else "a"
    years = persona.years_in_work
    past = f"have worked for {plural(years, 'year')}" if years else "are new to work"
    works_in = _WORKS_IN.get(persona.occupation, persona.occupation)
    who = f"{article} {persona.age}-year-old {persona.sex}"
    return f"You are {who} who works in {works_in}. You {past}."


@cache
def employment() -> Employment:
    """Occupation x sex x age of the employed: the most even table with the published margins.

    It is computed once; its arrays are read-only.

    The margins are occupation x sex (2022) and occupation x age (2025) of the Current Population
    Survey, in percent rounded to 0.1, normalised. The first also sets the totals of the
    occupations, since it splits production from transportation. The second is first fitted to these
    totals and to its own totals of ages, which keeps its odds ratios. Raises RuntimeError where the
    fit does not converge.
    """
    data = json.loads(
        resources.files("llm.agents")
        .joinpath("data/us_employment.json")
        .read_text(encoding="utf-8")
    )
    by_sex, by_age = data["by_sex"], data["by_age"]
    occupations, rows = tuple(by_sex["occupations"]), tuple(by_age["occupations"])
    row_of = np.array([rows.index(_ROW_BY_AGE.get(name, name)) for name in occupations])

    occupation_sex = _shares(
        [
            [by_sex["occupations"][name][column] for column in _COLUMNS.values()]
            for name in occupations
        ],
        [by_sex["employed"][column] for column in _COLUMNS.values()],
    )
    row_age = _shares([by_age["occupations"][row] for row in rows], by_age["employed"])
    row, age = np.indices(row_age.shape)
    row_age = fit_margins(
        row_age, [(row, np.bincount(row_of, occupation_sex.sum(1))), (age, row_age.sum(0))]
    )

    occupation, sex, age = np.indices((*occupation_sex.shape, row_age.shape[1]))
    joint = fit_margins(
        np.ones(occupation.shape),
        [
            (2 * occupation + sex, occupation_sex.ravel()),
            (row_age.shape[1] * row_of[occupation] + age, row_age.ravel()),
        ],
    )
    pay = np.array(
        [
            [data["weekly_pay"][name][column] for column in _COLUMNS.values()]
            for name in occupations
        ],
        float,
    )
    for array in (joint, pay):
        array.flags.writeable = False
    return Employment(
        occupations, tuple(_COLUMNS), tuple(map(_age_group, by_age["ages"])), joint, pay
    )


def fit_margins(
    seed: np.ndarray,
    margins: Sequence[tuple[np.ndarray, np.ndarray]],
    tolerance: float = 1e-12,
    sweeps: int = 1000,
) -> np.ndarray:
    """Fit an array to margins by iterative proportional fitting (Deming and Stephan 1940).

    Of all arrays with these margins, the result is nearest to the seed in relative entropy.

    seed: any shape, > 0. margins: pairs of `cell`, an integer array of the seed's shape with the
    cell of the margin in which each entry counts, and `target`, (number of cells,) sums. Cells may
    merge categories. tolerance: largest difference between a margin and its target. Raises
    RuntimeError if that is not reached after `sweeps` sweeps, as with contradictory targets.
    """
    table = np.array(seed, float)
    for _ in range(sweeps):
        for cell, target in margins:
            table *= (target / _sums(table, cell, target))[cell]
        error = max(
            float(np.abs(_sums(table, cell, target) - target).max()) for cell, target in margins
        )
        if error <= tolerance:
            return table
    raise RuntimeError(
        f"iterative proportional fitting: margins missed by {error:.1e} after {sweeps} sweeps"
    )


def sample_personas(
    skill: np.ndarray, *, seed: int, cohort: str, correlation: float = 0.5
) -> list[Persona]:
    """Draw one person per agent from `employment()`; pay and skill are correlated.

    skill: (n,), any unit, ties allowed. correlation: Spearman's, in [-1, 1], between skill and the
    median pay of the person's occupation and sex. A Gaussian copula joins the two: persons in order
    of pay go to agents in order of a latent score. Everybody in one of the 20 groups has the same
    pay, so that the sample's coefficient, with mean ranks for ties, is about sqrt(1 - sum of cubed
    shares) = 0.996 times the given one, besides sampling error.

    Which persons are drawn depends only on (seed, cohort, index), so that they have the
    distribution of `employment()` whatever the skills; which agent gets which person depends on all
    skills and on n. The same arguments give the same list on every machine; another n may change
    the persons. Raises ValueError for a correlation out of range.
    """
    if not -1 <= correlation <= 1:
        raise ValueError(f"population.personas.correlation: {correlation}; -1 to 1")
    people, n = employment(), len(skill)
    chosen, years = _uniforms(seed, cohort, "persona", n)
    noise, skill_tie = _uniforms(seed, cohort, "persona score", n)

    # The last sum is 1 only up to rounding.
    cells = np.minimum(
        np.searchsorted(np.cumsum(people.joint), chosen, side="right"), people.joint.size - 1
    )
    occupation, sex, group = np.unravel_index(cells, people.joint.shape)
    low, high = np.array(people.ages)[group].T
    age = low + np.floor(years * (high - low + 1)).astype(int)

    rank = np.empty(n)
    rank[np.lexsort((skill_tie, skill))] = np.arange(n)
    pearson = 2 * np.sin(np.pi * correlation / 6)  # of the latent normals (Pearson 1907)
    score = pearson * ndtri((rank + 0.5) / n) + np.sqrt(1 - pearson**2) * ndtri(noise)
    person_of = np.empty(n, int)
    # People of equal pay stay in the order they were drawn in, which is random.
    person_of[np.argsort(score, kind="stable")] = np.argsort(
        people.pay[occupation, sex], kind="stable"
    )
    return [
        Persona(people.occupations[occupation[i]], people.sexes[sex[i]], int(age[i]))
        for i in person_of
    ]


def _sums(table: np.ndarray, cell: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.bincount(cell.ravel(), table.ravel(), len(target))


def _shares(percent: Sequence[Sequence[float]], employed: Sequence[float]) -> np.ndarray:
    """Shares of all, (o, k) with sum 1, from percentages by column, (o, k), and totals (k,).

    The percentages of a column add up to 100 except for rounding.
    """
    columns = np.array(percent) / np.sum(percent, axis=0)
    return columns * (np.array(employed, float) / np.sum(employed))


def _age_group(label: str) -> tuple[int, int]:
    low, _, high = label.rstrip("+").partition("-")
    return int(low), int(high or _OLDEST)


def _uniforms(seed: int, cohort: str, purpose: str, n: int) -> np.ndarray:
    """Uniform draws in the open interval (0, 1), (2, n) float64, whatever JAX's precision."""
    with usual_settings():
        words = draw(named_key(seed, cohort, purpose), 0, 0, n)
    return (np.array([words.first, words.second], float) + 0.5) * 2.0**-32
