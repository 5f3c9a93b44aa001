"""What language models answered in the arms that a table describes, and what they cannot tell.

By itself, an arm in which a model always gives the same answer says nothing, whatever its
statistics; nor do arms with identical answers, one by one. `answer_limits` finds both, and
`statistic_limits` arms in which different answers came to the same.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.suite.arms import rows_of
from jaxecon.config.names import decision_words
from jaxecon.core.text import shortened
from jaxecon.sweeps.results import Sweep

_COUNTED = ("decisions", "usable", "distinct", "most_frequent", "most_frequent_count", "sequence")
_MAX_ANSWER = 40  # characters of an answer that a sentence quotes


def described_rows(
    swept: Sweep, kinds: Sequence[str], label: Callable[[Mapping[str, Any]], str]
) -> list[dict[str, Any]]:
    """`rows_of` a sweep with language models, with what they answered.

    kinds: of the decisions that the arms are about. label: the words for a row's arm, which become
    its `described`. KIND_decisions, KIND_usable, .. are the columns of `Sweep.answers`, None in
    points without a transcript that is whole.
    """
    counted = {(row["point"], row["kind"]): row for row in swept.answers.to_pylist()}
    answered = {point for point, _ in counted}
    none_asked = dict.fromkeys(_COUNTED, 0) | {"most_frequent": None, "sequence": ""}
    rows = []
    for row in rows_of(swept):
        row["described"] = label(row)
        for kind in kinds:
            found = counted.get(
                (row["point"], kind), none_asked if row["point"] in answered else {}
            )
            row |= {f"{kind}_{name}": found.get(name) for name in _COUNTED}
        rows.append(row)
    return rows


def answer_cells(rows: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> list[list[str]]:
    """Lines of a table: numbers of usable and of distinct answers, the commonest one's share."""

    def number(row: Mapping[str, Any], name: str) -> str:
        return "" if row[name] is None else f"{row[name]:,}"

    lines = []
    for kind in kinds:
        words = decision_words(kind)
        for name in ("usable", "distinct"):
            lines.append(
                [f"{words}: {name} answers", *(number(row, f"{kind}_{name}") for row in rows)]
            )
        shares = (
            f"{100 * row[f'{kind}_most_frequent_count'] / row[f'{kind}_usable']:.0f}"
            if row[f"{kind}_usable"]
            else ""
            for row in rows
        )
        lines.append([f"{words}: most frequent answer, %", *shares])
    return lines


def answer_limits(rows: Sequence[Mapping[str, Any]], kind: str, about: str) -> list[str]:
    """Sentences on the arms whose answers say nothing, and on those with identical answers.

    Args:
        rows: of a described table, as `described_rows` makes them.
        kind: of decision.
        about: what the table would otherwise say something about, after "nothing about".

    Returns:
        Sentences; none where every arm has answers of its own.
    """
    words = decision_words(kind)
    known, unknown = _arms_of(rows, kind)
    silent = [arm.label for arm in known if not arm.usable]
    arms = [arm for arm in known if arm.usable]
    lines = []
    if unknown:
        lines.append(
            f"Answers ({words}) not compared, since a run failed or left no transcript: "
            f"{_listed(unknown)}."
        )
    if silent:
        lines.append(
            f"No usable answer ({words}) in {_listed(silent)}: nothing about {about} follows there."
        )
    for (answer, usable), labels in _groups(arms, lambda arm: (arm.only, arm.usable)).items():
        if answer is None:
            continue
        shown = shortened(answer, _MAX_ANSWER)
        where = "each arm" if len(labels) == len(arms) > 1 else _listed(labels)
        arm = "the arm" if len(labels) == 1 else "such an arm"
        lines.append(
            f"The model gave one answer ({words}: {shown}) in all {usable:,} usable decisions of "
            f"{where}: by itself, {arm} says nothing about {about}."
        )
    for labels in _groups(arms, lambda arm: arm.identity).values():
        if len(labels) == len(known) + len(unknown) > 1:
            lines.append(
                f"Identical answers ({words}) in {_all_arms(len(labels))}: the model decided "
                f"the same whatever the arm, and this table says no more about {about}."
            )
        elif len(labels) > 1:
            lines.append(
                f"Identical answers ({words}) in {_listed(labels)}: nothing about {about} follows "
                "from comparing them."
            )
    return lines


def statistic_limits(
    rows: Sequence[Mapping[str, Any]], statistics: Sequence[str], about: str
) -> list[str]:
    """A sentence where all arms came to the same statistics; none otherwise.

    Different answers can have the same effect: a planner that raises a rate of 100 % does not move
    it. rows: of a described table, of earlier versions too. about: as `answer_limits` takes it.
    """
    by_arm: dict[str, list[list[Any]]] = {}
    for row in rows:
        values = [row.get(statistic) for statistic in statistics]
        by_arm.setdefault(str(row["described"]), []).append(values)
    first, *others = list(by_arm.values()) or [[]]
    failed = any(row["status"] != "ok" for row in rows)
    if failed or not others or any(values != first for values in others):
        return []
    return [
        f"All statistics are identical in {_all_arms(len(by_arm))}, and say no more about {about}."
    ]


def _all_arms(count: int) -> str:
    return "both arms" if count == 2 else f"all {count} arms"


@dataclass(frozen=True)
class _Arm:
    """The answers of an arm's runs.

    only: the answer, where all of at least two were the same. identity: the same in arms with
    identical answers; where each has but one answer, also if they were asked more or less often.
    """

    label: str
    usable: int
    only: str | None
    identity: Hashable


def _arms_of(rows: Sequence[Mapping[str, Any]], kind: str) -> tuple[list[_Arm], list[str]]:
    """The arms in order, and the labels of those of which a run's answers are not known."""
    known, unknown = [], []
    for label in dict.fromkeys(str(row["described"]) for row in rows):
        runs = [row for row in rows if row["described"] == label]
        if any(row[f"{kind}_sequence"] is None for row in runs):
            unknown.append(label)
            continue
        usable = sum(row[f"{kind}_usable"] for row in runs)
        answers = {row[f"{kind}_most_frequent"] for row in runs if row[f"{kind}_usable"]}
        constant = (
            usable > 1 and len(answers) == 1 and all(row[f"{kind}_distinct"] <= 1 for row in runs)
        )
        only = answers.pop() if constant else None
        identity = only if constant else tuple(row[f"{kind}_sequence"] for row in runs)
        known.append(_Arm(label, usable, only, identity))
    return known, unknown


def _groups(arms: Iterable[_Arm], key: Callable[[_Arm], Hashable]) -> dict[Any, list[str]]:
    """The arms' labels by what they share."""
    groups: dict[Any, list[str]] = {}
    for arm in arms:
        groups.setdefault(key(arm), []).append(arm.label)
    return groups


def _listed(labels: Sequence[str]) -> str:
    *first, last = labels
    return f"{', '.join(first)} and {last}" if first else last
