"""A run's manifest: what its readers rely on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from jaxecon.core.errors import UserError
from jaxecon.core.files import read_json_object
from jaxecon.core.text import shown
from jaxecon.storage.entries import Entries, Hardware, check_entries
from jaxecon.storage.migrations import migrated_manifest
from jaxecon.storage.paths import FORMAT, MANIFEST, PARTS

_MAX_VALUE = 80  # characters of a wrong format that its line shows

_Year = Annotated[int, pydantic.Field(ge=0)]
_Years = Annotated[int, pydantic.Field(ge=1)]


class _Resumption(Entries):
    begin: Annotated[list[_Year], pydantic.Field(alias="from", min_length=2, max_length=2)]
    changed: list[str]
    inexact: list[str]
    years: Annotated[list[_Years], pydantic.Field(min_length=2, max_length=2)] | None = None


class _Origin(Entries):
    run: str
    year: _Year
    answers: bool = False


class _Policy(Entries):
    policy: str
    rates: Annotated[list[float], pydantic.Field(min_length=1)]
    welfare: float | None
    gain: float | None
    hours: float | None
    gini_consumption: float | None
    rebate: float | None


class _LastYear(Entries):
    year: _Year
    swf_window: float | None
    gain_realised: float | None
    mean_hours: float | None
    gini_consumption: float | None
    satisfied_share: float | None = None


class _Usage(Entries):
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float
    dollars: float
    statuses: dict[str, int]
    by_kind: dict[str, dict[str, int]]
    engines: list[str]
    restarts: int = 0


class _Summary(Entries):
    policies: list[_Policy]
    policies_without_schedule: dict[str, str]
    realised: _LastYear
    effective_sample_size: float | None
    planner: str
    llm: _Usage | None
    seconds: float


class _Manifest(Entries):
    """What every run has."""

    status: Literal["running", "complete", "stopped", "failed", "interrupted"]
    configuration: dict[str, Any] = pydantic.Field(default_factory=dict)
    branched_from: _Origin = _Origin(run="", year=0)
    parts: Literal["parts.jsonl"] = PARTS
    stopped: str = ""
    error: str = ""
    prompts: str | None = None
    seconds: float = 0.0
    diagnostics: list[Any] = pydantic.Field(default_factory=list)
    models: dict[str, dict[str, Any]] | None = None
    run_id: str | None = None
    resumed: list[_Resumption] = pydantic.Field(default_factory=list)
    summary: _Summary | None = None


class _Continuable(_Manifest):
    """What a run has that can be resumed, replayed or branched."""

    configuration: dict[str, Any]
    configuration_hash: str
    identities: dict[str, dict[str, str]] | None
    files: dict[str, str]
    code: str
    versions: dict[str, str]
    hardware: Hardware


class _Asking(_Continuable):
    """What such a run has if it asks language models."""

    identities: Annotated[dict[str, dict[str, str]], pydantic.Field(min_length=1)]


def read_manifest(run: Path) -> tuple[dict[str, Any], int]:
    """The manifest of a run in today's format, and the format in which it is stored.

    Raises:
        UserError: there is no run, or this jaxecon cannot read its format.
        DiskError: the manifest is damaged.
    """
    path = run / MANIFEST
    try:
        stored = read_json_object(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{run}: not a run directory (no {MANIFEST})") from None
    if stored.get("kind") == "sweep":
        raise UserError(
            f"{run}: holds a sweep, not a run; jaxecon sweep --out {run} --summary shows it"
        )
    if type(stored.get("format")) is not int or not 1 <= stored["format"] <= FORMAT:
        form = shown(stored.get("format"), _MAX_VALUE)
        raise UserError(f"{run}: format {form}; this version reads formats 1 to {FORMAT}")
    manifest = migrated_manifest(stored)
    check_entries(_Manifest, path, manifest)
    return manifest, stored["format"]


def check_continuable(run: Path, manifest: Mapping[str, Any], *, asks: bool = False) -> None:
    """Raise DiskError where a manifest lacks what resume, replay and branch need of it.

    asks: whether the run asks language models.
    """
    check_entries(_Asking if asks else _Continuable, run / MANIFEST, manifest)
