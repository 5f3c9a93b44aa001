"""The points of a design, one configuration each."""

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxecon.config.fields import check_name, is_section
from jaxecon.config.read import load_config, set_in
from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError
from jaxecon.sweeps.design import Design, Sample

SEEDS = ("seed", "draw_seed")  # over which results are averaged


@dataclass(frozen=True)
class Point:
    """One configuration of a sweep. settings: those that vary, by name."""

    index: int
    settings: dict[str, Any]


class Points(Sequence[Point]):
    """The points of a design; each is made when it is needed, since there can be millions.

    Raises UserError where a setting varies twice, or does not exist.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self._axes = list(_axes(design))
        names = [name for axis in self._axes for name in axis.names]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"{name}: varied {names.count(name)} times")
            whole = next((other for other in names if name.startswith(f"{other}.")), None)
            if whole is not None:
                raise UserError(f"{name}: varied, and so is all of {whole}")
            check_name(name, design.run)
            if is_section(name):
                raise UserError(
                    f"{name}: a section; vary its settings, such as {name}.{is_section(name)}"
                )
        _check_names(design.run, "", design.run)
        self.names = tuple(names)
        self._numbers = range(math.prod(len(axis.rows) for axis in self._axes))
        self._last_loaded: tuple[str, Config] | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        settings: dict[str, Any] = {}
        rest = number = self._numbers[index]
        for axis in reversed(self._axes):
            rest, at = divmod(rest, len(axis.rows))
            settings = dict(zip(axis.names, axis.rows[at], strict=True)) | settings
        return Point(number, settings)

    @property
    def save(self) -> bool:
        """Whether people save in any of the points."""
        saving = (self.design.run.get("dynamics") or {}).get("saving") or {}
        return "dynamics.saving.enabled" in self.names or bool(saving.get("enabled"))

    def values(self, name: str) -> Sequence[Any]:
        """All values that a setting takes."""
        axis = next(axis for axis in self._axes if name in axis.names)
        if isinstance(axis.rows, _SingleValues):
            return axis.rows.values
        return [row[axis.names.index(name)] for row in axis.rows]

    def config(self, point: Point) -> Config:
        """The configuration of a point.

        Raises UserError for values that a setting does not accept.
        """
        shared, seeds = self.shared(point)
        return shared.model_copy(update=seeds) if seeds else shared

    def shared(self, point: Point) -> tuple[Config, dict[str, int]]:
        """A point's configuration without the seeds that vary, and these seeds by name.

        The configuration is the same object for neighbouring points that differ only in their
        seeds.

        Raises UserError for values that a setting does not accept.
        """
        seeds = {name: point.settings[name] for name in SEEDS if name in point.settings}
        if not all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds.values()):
            return self._load(point.settings), {}
        settings = {name: value for name, value in point.settings.items() if name not in seeds}
        key = json.dumps(settings)
        if self._last_loaded is None or self._last_loaded[0] != key:
            self._last_loaded = key, self._load(settings)
        return self._last_loaded[1], seeds

    def _load(self, settings: Mapping[str, Any]) -> Config:
        tree = copy.deepcopy(self.design.run)
        for name, value in settings.items():
            set_in(tree, name, copy.deepcopy(value))
        return load_config(tree)


@dataclass(frozen=True)
class _Axis:
    """Settings that vary together: rows of values."""

    names: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


class _SingleValues(Sequence[tuple[Any]]):
    """Values of one setting, as rows of one value each."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        return (self.values[index],)


def count(design: Design) -> int:
    """The number of points of a design, found without making them."""
    sampled = [
        sample.points for sample in (design.random, design.latin_hypercube) if sample is not None
    ]
    listed = [len(design.list_)] if design.list_ is not None else []
    return math.prod(
        [*listed, *sampled, *(len(values) for values in design.grid.values()), design.seeds or 1]
    )


def _axes(design: Design) -> Iterator[_Axis]:
    """Everything that varies; the last axis varies fastest."""
    if design.list_ is not None:
        names = tuple(dict.fromkeys(name for row in design.list_ for name in row))
        for i, row in enumerate(design.list_):
            for name in names:
                if name not in row:
                    raise UserError(f"list.{i}: has no {name}, which other points have")
        if not names:
            raise UserError("list: empty; one mapping of settings for each point")
        yield _Axis(names, [[row[name] for name in names] for row in design.list_])
    for kind in ("random", "latin_hypercube"):
        sample: Sample | None = getattr(design, kind)
        if sample is not None:
            yield _sampled(kind, sample)
    for name, values in design.grid.items():
        if not values:
            raise UserError(f"grid.{name}: no values; one or more")
        keys = [(isinstance(value, bool), value) for value in values]  # in Python True == 1
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise UserError(f"grid.{name}: {values[i]!r} is given twice")
        yield _Axis((name,), _SingleValues(values))
    if design.seeds is not None:
        first = design.run.get("seed", 0)
        if type(first) is not int or not 0 <= first < 2**32:
            raise UserError(
                f"run.seed: {first!r}; a whole number in [0, 4294967295], from which the seeds "
                "count"
            )
        yield _Axis(("seed",), _SingleValues(range(first, first + design.seeds)))


def _sampled(kind: str, sample: Sample) -> _Axis:
    """Random or Latin-hypercube points, drawn in a way that must not depend on library versions."""
    rng = np.random.default_rng(sample.seed)
    u = rng.random((sample.points, len(sample.settings)))
    if kind == "latin_hypercube":  # one point at random within each slice of each setting
        slices = np.argsort(rng.random(u.shape), axis=0, kind="stable")
        u = np.minimum((slices + u) / sample.points, np.nextafter(1, 0))
    columns: list[list[Any]] = []
    for (name, values), share in zip(sample.settings.items(), u.T, strict=True):
        if isinstance(values, list):
            if not values:
                raise UserError(f"{kind}.settings.{name}: no values; one or more")
            columns.append([values[int(i)] for i in share * len(values)])
        else:
            columns.append(list(values.at(share)))
    return _Axis(tuple(sample.settings), list(zip(*columns, strict=True)))


def _check_names(tree: Any, path: str, run: dict[str, Any]) -> None:
    """Raise UserError for a name in the shared settings that is not a setting."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            check_name(f"{path}{name}", run)
            _check_names(value, f"{path}{name}.", run)
