"""Skills and survey weights from a user's file of microdata."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from jaxecon.config.settings import Config
from jaxecon.core.draws import draw, named_key, uniform
from jaxecon.core.errors import UserError, first_line
from jaxecon.core.text import plural, shortened, shown
from jaxecon.economy.number_table import NumberTable, open_table
from jaxecon.economy.population import weighted_quantile_skill
from jaxecon.economy.precision import dtype_of
from jaxecon.kernels.preferences import REFERENCE_HOURS

_MAX_NAMES = 200  # characters of columns' names that a message shows
# Other names of it, and what is in them; `letters` have no case and nothing else.
_WEIGHTS = {
    *("w", "s006", "peso", "factor", "pw", "fw", "hhw", "samplew", "pond", "fexp", "вес", "веса")
}
_PARTS_OF_WEIGHTS = (
    r"weight|wgt|wght|^wt|wts?\d*$|secwt|wtsupp|wtfin|wtper|fwt|poids|gewicht|ponder|factorexp|"
    r"hochrechn"
)


def microdata_skill(config: Config, cohort: str, size: int) -> np.ndarray:
    """Skills of a cohort, (size,) $/year per weekly hour: quantile midpoints of the file, or draws.

    Raises UserError, as `read_microdata` does.
    """
    population, dtype = config.population, dtype_of(config)
    skill, weights = read_microdata(Path(population.file or ""), dtype)
    if population.sampling == "random":
        chosen = uniform(
            draw(named_key(config.seed, cohort, "skill"), 0, 0, size).first, np.float32
        )
        cumulated = np.cumsum(weights)
        at = np.searchsorted(
            cumulated, np.asarray(chosen, float) * cumulated[-1], side="right"
        ).clip(0, len(skill) - 1)
        return np.asarray(skill[at], dtype)
    return weighted_quantile_skill(skill, weights, size).astype(dtype)


def read_microdata(path: Path, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Return the skills ($/year per weekly hour) and weights of a Parquet or CSV file, (m,) each.

    Both are finite and positive, also in `dtype`. Columns are `skill` or, without one, `income`,
    and optionally `weight`, with any capitals and blanks around them.

    Raises UserError, which names the file, the line, the column and what is wrong.
    """
    try:
        if not path.is_file():
            raise UserError(f"population.file: {path}: no such file")
        changed = path.stat().st_mtime_ns
    except (OSError, ValueError) as error:  # a name that is too long, or no name
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"population.file: {shown(str(path), 100)}: {reason}") from None
    return _microdata(path, changed, dtype)


@lru_cache(maxsize=4)  # thousands of economies may be drawn from one file
def _microdata(path: Path, changed: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    try:
        table = open_table(path)
        value, weight = _columns(table.names)
        read = [value] if weight is None else [value, weight]
        columns = table.numbers(read)
        if not len(columns[0]):
            raise ValueError("holds no rows")
        for index, numbers in zip(read, columns, strict=True):
            _check_positive(numbers, _normal(table.names[index]), table, dtype)
    except ValueError as error:
        raise UserError(f"population.file: {path}: {error}") from None
    values = columns[0] / (1 if _normal(table.names[value]) == "skill" else REFERENCE_HOURS)
    return values, np.ones_like(values) if weight is None else columns[1]


def _columns(names: Sequence[str]) -> tuple[int, int | None]:
    """The indices of the column of skills or incomes and of that of weights.

    Raises ValueError where there is no such column, or one that only looks like weights.
    """
    normal = [_normal(name) for name in names]
    for name in ("skill", "income", "weight"):
        if normal.count(name) > 1:
            raise ValueError(f"column {name} is given {normal.count(name)} times")
    if not names:
        raise ValueError("holds no rows")
    value = next((name for name in ("skill", "income") if name in normal), None)
    if value is None:
        shown_names = shortened(", ".join(names), _MAX_NAMES)
        raise ValueError(
            f"{plural(len(names), 'column')} {shown_names}; needs skill ($/year per weekly hour) "
            "or income ($/year at 40 h)"
        )
    if "weight" in normal:
        return normal.index(value), normal.index("weight")
    for name in names:
        if _looks_like_weights(name):
            raise ValueError(
                f"column {shown(name, _MAX_NAMES)} looks like weights and is not read; call the "
                "survey weights `weight`, or take the column out"
            )
    return normal.index(value), None


def _normal(name: str) -> str:
    return name.strip().strip("\ufeff").casefold()


def _looks_like_weights(name: str) -> bool:
    letters = re.sub(r"[\W_]", "", _normal(name))
    return bool(re.search(_PARTS_OF_WEIGHTS, letters)) or letters in _WEIGHTS


def _check_positive(numbers: np.ndarray, column: str, table: NumberTable, dtype: type) -> None:
    """Raise ValueError unless all numbers are finite and above 0, also in `dtype`."""
    with np.errstate(over="ignore"):
        stored: np.ndarray = numbers.astype(dtype)
    wrong = np.flatnonzero(~(np.isfinite(stored) & (stored > 0)))
    if len(wrong):
        raise ValueError(
            f"column {column}, {table.place(int(wrong[0]))}: {numbers[wrong[0]]:g}; must be "
            "finite and above 0"
        )
