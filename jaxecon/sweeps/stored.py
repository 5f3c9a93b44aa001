"""What a sweep's folder holds, checked as it is read: manifest, plan, and parts of the tables."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic

from jaxecon.core.errors import DiskError, UserError, first_line
from jaxecon.core.files import read_json_object
from jaxecon.storage.entries import Entries, Hardware, check_entries
from jaxecon.storage.paths import MANIFEST
from jaxecon.sweeps.chunk import Chunk

FORMAT = 1

PLAN = "plan.json"

_SWEEP_ID = b"sweep_id"  # in the metadata of a part, as in the manifest

_Count = Annotated[int, pydantic.Field(ge=0)]
_Positive = Annotated[int, pydantic.Field(ge=1)]


class _Manifest(Entries):
    format: int
    kind: Literal["sweep"]
    status: Literal["running", "complete"]
    code: str
    versions: dict[str, str]
    hardware: Hardware
    files: dict[str, str]
    sweep_id: str | None = None
    points: _Count | None = None
    failed: _Count | None = None


class _Chunk(Entries):
    number: _Count
    kind: Literal["batch", "run", "refused"]
    points: list[_Count]
    lanes: _Positive
    form: _Count
    errors: list[str]


class _Plan(Entries):
    brackets: _Positive
    chunks: list[_Chunk]


def read_manifest(out: Path) -> dict[str, Any]:
    """The manifest of a sweep.

    Raises:
        UserError: it is from a newer jaxecon.
        DiskError: it is damaged or lost.
    """
    manifest = _read(out / MANIFEST, _Manifest)
    if manifest["format"] > FORMAT:
        raise UserError(f"{out}: format {manifest['format']}; this version reads up to {FORMAT}")
    return manifest


def read_plan(out: Path, total: int) -> tuple[list[Chunk], int]:
    """The chunks of a sweep of so many points, and the largest number of brackets of any.

    Raises DiskError where the plan is damaged or lost, or is that of other points.
    """
    path = out / PLAN
    stored = _read(path, _Plan)
    chunks = [Chunk.from_json(chunk) for chunk in stored["chunks"]]
    planned = [point for chunk in chunks for point in chunk.points]
    if sorted(planned) != list(range(total)):
        raise DiskError(f"{path}: damaged (not every point is in one chunk); give a new folder")
    if len({chunk.number for chunk in chunks}) < len(chunks):
        raise DiskError(f"{path}: damaged (two chunks of one number); give a new folder")
    for chunk in chunks:
        if chunk.kind == "refused" and len(chunk.errors) != len(chunk.points):
            raise DiskError(f"{path}: damaged (errors of chunk {chunk.number}); give a new folder")
    return chunks, stored["brackets"]


def _read(path: Path, model: type[Entries]) -> dict[str, Any]:
    try:
        content = read_json_object(path)
        check_entries(model, path, content)
    except (FileNotFoundError, NotADirectoryError):
        raise DiskError(f"{path}: missing; give a new folder") from None
    except DiskError as error:
        raise DiskError(f"{error}; give a new folder") from error
    return content


def chunks_of_runs(out: Path) -> dict[int, int]:
    """The points with language models, and the number of each one's chunk.

    Raises DiskError where the plan is damaged or lost.
    """
    chunks = _read(out / PLAN, _Plan)["chunks"]
    runs = (chunk for chunk in chunks if chunk["kind"] == "run")
    return {point: chunk["number"] for chunk in runs for point in chunk["points"]}


class ForeignPart(DiskError):
    """A file of another sweep's table."""


def with_sweep_id(table: pa.Table, sweep_id: str | None) -> pa.Table:
    """A table that says, in its metadata, to which sweep it belongs."""
    return table if sweep_id is None else table.replace_schema_metadata({_SWEEP_ID: sweep_id})


def read_part(path: Path, sweep_id: str | None, points: Collection[int] | None = None) -> pa.Table:
    """The rows of a chunk in one of the tables.

    sweep_id: the manifest's; None in sweeps that were begun without one. points: those that its
    rows must be of, all of them in the table of points.

    Raises:
        ForeignPart: the file is another sweep's.
        DiskError: it is damaged or lost.
    """
    try:
        table = pq.read_table(path.absolute(), page_checksum_verification=True)
        found = set(table["point"].to_pylist())
    except FileNotFoundError:
        raise DiskError(f"{path}: missing") from None
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DiskError(f"{path}: damaged ({first_line(error)})") from error
    theirs = (table.schema.metadata or {}).get(_SWEEP_ID)
    if theirs is not None and theirs != (sweep_id or "").encode():
        raise ForeignPart(
            f"{path}: another sweep's (its sweep_id is not that of {MANIFEST}); put back this "
            "sweep's own, or remove it to simulate its chunk again"
        )
    if points is not None and not found <= set(points):
        raise DiskError(f"{path}: damaged (holds points of another chunk)")
    return table.replace_schema_metadata(None)
