"""Everything that a run carries from one day to the next."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxecon.config.settings import Config
from jaxecon.core.pytree import pytree
from jaxecon.economy.state import AgentSums, Day, EconomyState
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import YearObservation

if TYPE_CHECKING:
    from jaxecon.economy.state import Economy
    from jaxecon.planners.base import Planner


def joined_record(record: tuple[Day, ...]) -> Day:
    return jax.tree.map(lambda *parts: np.concatenate(parts), *record)


@pytree
class RunState:
    """Everything that a run carries from one day to the next; what a checkpoint holds.

    schedule: in force. planner: its state. observation: of the year before, until the planner has
    seen it; None in the first year and within a year. sums, record: of the year's days so far; None
    and () between years. workers: what LLM workers remember.
    """

    economy: EconomyState
    schedule: TaxSchedule
    planner: Any
    observation: YearObservation | None
    sums: AgentSums | None
    record: tuple[Day, ...]
    workers: dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """A run that is checked and computed as far as possible without its engine.

    planner: None where it needs an engine; `make_deciders` makes it then.
    """

    config: Config
    folder: Path
    economy: "Economy"
    schedule: "TaxSchedule"
    planner: "Planner | None"
