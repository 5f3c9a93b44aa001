"""Settings of what is written, and when."""

from typing import Literal

from pydantic import Field

from jaxecon.config.base import Section


class Record(Section):
    agents: Literal["every", "sample", "none"] = Field(
        "every", description="Which agents' years are written."
    )
    sample: int = Field(
        1000, ge=1, description="Agents of each cohort written with `sample`, evenly spaced."
    )


class CheckpointPolicy(Section):
    """When a run's whole state is written; also where it is interrupted, and at its end."""

    every_years: int | None = Field(None, ge=1, le=10_000_000)
    every_days: int | None = Field(
        None, ge=1, le=1_000_000_000, description="Days of the whole run, over years."
    )
    every_minutes: float | None = Field(5.0, ge=0, le=1e6)
    keep_last: int = Field(2, ge=1, le=1_000_000, description="The newest, which are kept.")
    keep_every_years: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="One is written and kept at the start of every N-th year, to branch from.",
    )
