"""Skills and survey weights from a user's file of microdata."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from jaxecon.config.settings import Config
from jaxecon.core.draws import draw, named_key, uniform
from jaxecon.core.errors import UserError, first_line
from jaxecon.economy.population import weighted_quantile_skill
from jaxecon.economy.precision import dtype_of
from jaxecon.kernels.preferences import REFERENCE_HOURS


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

    Both are finite and positive, also in `dtype`. Raises UserError, which names the file, the
    column and what is wrong.
    """
    if not path.is_file():
        raise UserError(f"population.file: {path}: no such file")
    return _microdata(path, path.stat().st_mtime_ns, dtype)


@lru_cache(maxsize=4)  # thousands of economies may be drawn from one file
def _microdata(path: Path, changed: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    setting = f"population.file: {path}"
    kind = "CSV" if path.suffix == ".csv" else "Parquet"
    try:
        table = pa.csv.read_csv(path) if kind == "CSV" else pa.parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{setting}: cannot be read as {kind} ({first_line(error)})") from error
    names = table.column_names
    column = "skill" if "skill" in names else "income"
    if column not in names:
        raise UserError(
            f"{setting}: columns {', '.join(names)}; needs skill ($/year per weekly hour) or "
            "income ($/year at 40 h)"
        )
    if table.num_rows == 0:
        raise UserError(f"{setting}: holds no rows")
    values = _positive_numbers(table, column, setting, dtype)
    weights = (
        _positive_numbers(table, "weight", setting, dtype)
        if "weight" in names
        else np.ones_like(values)
    )
    return values / (1 if column == "skill" else REFERENCE_HOURS), weights


def _positive_numbers(table: pa.Table, column: str, setting: str, dtype: type) -> np.ndarray:
    try:
        values = np.asarray(table[column].cast(pa.float64()).to_numpy())
    except (pa.ArrowException, KeyError) as error:
        raise UserError(
            f"{setting}: column {column} is not one column of numbers ({first_line(error)})"
        ) from error
    with np.errstate(over="ignore"):
        stored: np.ndarray = values.astype(dtype)
    wrong = np.flatnonzero(~(np.isfinite(stored) & (stored > 0)))
    if len(wrong):
        raise UserError(
            f"{setting}: column {column}, row {wrong[0] + 1}: {values[wrong[0]]:g}; must be "
            "finite and above 0"
        )
    return values
