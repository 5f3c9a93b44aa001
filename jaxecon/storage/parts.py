"""The files of a run's tables: which they are, and whether they are what was written.

Each is listed in parts.jsonl, one JSON object a line, with its number of rows and its SHA-256. The
list is a file of its own, since a line is appended each year: the manifest, which would have to be
written anew with hundreds of them, holds its name. Files that are not in the list are what a crash
left, or somebody else's, and are not read. Runs of earlier versions have no list: there the files'
names say which years they hold.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pydantic

from jaxecon.core.errors import DiskError, first_line
from jaxecon.core.files import check_regular, read_json_object, sha256_of
from jaxecon.storage.paths import (
    CHECKPOINT_META,
    CHECKPOINTS,
    MANIFEST,
    PARTS,
    PAST,
    TABLES,
    YEARS,
)
from jaxecon.storage.run_id import check_run_id, run_id_of

_NAME = re.compile(r"part-(\d{8,12})(?:-(\d{8,12}))?\.parquet")


class PartRecord(pydantic.BaseModel):
    """A line of parts.jsonl.

    file: the path within the run's folder. rows: their number. sha256: of the file, in hexadecimal.
    run_id: of the run that wrote it; None in runs that were begun without one.
    """

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)

    file: Annotated[str, pydantic.Field(max_length=100)]
    rows: Annotated[int, pydantic.Field(ge=0)]
    sha256: Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
    run_id: str | None = None


Records = dict[str, PartRecord]  # by file


class Part(NamedTuple):
    """A file of one table: the rows of the years from first to last.

    record: None in runs of earlier versions.
    """

    first: int
    last: int
    path: Path
    record: PartRecord | None = None


def part_name(first: int, last: int) -> str:
    return f"part-{first:08d}.parquet" if first == last else f"part-{first:08d}-{last:08d}.parquet"


# --- the list of files ----------------------------------------------------------------------------


def read_records(run: Path) -> Records | None:
    """The files that make a run's tables; None in a run of an earlier version, which has no list.

    A last line without its end is what a crash left of it: its file is not in the list yet.

    Raises DiskError where the list is damaged, lost, or another run's.
    """
    path = run / PARTS
    try:
        check_regular(path)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if "parts" in read_json_object(run / MANIFEST):
            raise DiskError(f"{path}: missing; without it the tables cannot be checked") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DiskError(f"{path}: damaged ({first_line(error)})") from error
    records = {}
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            record = PartRecord.model_validate_json(line)
        except pydantic.ValidationError:
            raise DiskError(f"{path}: damaged (line {number} is no record of a file)") from None
        if record.file != PAST and listed(run, record)[1] is None:
            raise DiskError(f"{path}: damaged (line {number}: {record.file!r} is no table's file)")
        records[record.file] = record
    for run_id in {record.run_id for record in records.values()}:
        check_run_id(run, path, run_id)
    return records


def record_lines(records: Sequence[PartRecord]) -> bytes:
    """Lines of parts.jsonl."""
    return "".join(
        f"{json.dumps(record.model_dump(exclude_none=True))}\n" for record in records
    ).encode()


def record_of(run: Path, path: Path) -> PartRecord:
    """The record of a file of a run as it is. Raises DiskError where it is damaged."""
    with _explained(path):
        return PartRecord(
            file=str(path.relative_to(run)),
            rows=pq.read_metadata(path.absolute()).num_rows,
            sha256=sha256_of(path),
            run_id=run_id_of(run),
        )


def listed(run: Path, record: PartRecord) -> tuple[str, Part | None]:
    """The table of a file in the list, and its years; None where it is no table's file."""
    table, _, name = record.file.partition("/")
    return table, _part(run / table / name, record) if table in TABLES else None


def _part(path: Path, record: PartRecord | None = None) -> Part | None:
    """The part that a file's name says, or None where it is no part's name."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last or part_name(first, last) != path.name:
        return None
    return Part(first, last, path, record)


def named_parts(folder: Path) -> list[Part]:
    """All files of a table's folder with the name of a part, in the list or not."""
    found = (_part(path) for path in folder.glob("part-*.parquet"))
    return _ordered([part for part in found if part is not None])


def recorded_parts(run: Path, table: str, records: Mapping[str, PartRecord]) -> list[Part]:
    """The files of a table that are in the list, those included that a larger one covers."""
    found = (listed(run, record) for record in records.values())
    return _ordered([part for name, part in found if name == table and part is not None])


def _ordered(parts: list[Part]) -> list[Part]:
    return sorted(parts, key=lambda part: (part.first, -part.last))


def parts(run: Path, table: str, *, before: int | None = None) -> list[Part]:
    """A table's files in order, without those that a larger one covers; they may be damaged.

    before: only files with years before this one, of which all must be there. By default all files,
    and all years that the run has simulated.

    Raises DiskError where the list is damaged, or where a file or a year is not in it.
    """
    records = read_records(run)
    years = _before(_uncovered(_known(run, YEARS, records)), before)
    _check_years(run, years, _simulated_years(run) if before is None else before)
    kept = years
    if table != YEARS:
        kept = _before(_uncovered(_known(run, table, records)), before)
    if records is not None:
        _check_unlisted(run, _before(named_parts(run / table), before), kept, _end(years))
    return kept


def _before(parts: list[Part], year: int | None) -> list[Part]:
    return parts if year is None else [part for part in parts if part.first < year]


def _end(years: Sequence[Part]) -> int:
    """The year after the last of these files'."""
    return years[-1].last + 1 if years else 0


def _known(run: Path, table: str, records: Records | None) -> list[Part]:
    return named_parts(run / table) if records is None else recorded_parts(run, table, records)


def _uncovered(parts: Sequence[Part]) -> list[Part]:
    covered = -1
    kept: list[Part] = []
    for part in parts:
        if part.last > covered:
            kept.append(part)
            covered = part.last
    return kept


def first_year(manifest: Mapping[str, Any]) -> int:
    """The year in which a run began: 0 or, for a branch, a later one."""
    return int((manifest.get("branched_from") or {"year": 0})["year"])


def _check_years(run: Path, kept: Sequence[Part], end: int) -> None:
    """Raise DiskError where a year before `end` is in no file of years.parquet."""
    year = first_year(read_json_object(run / MANIFEST))
    for part in kept:
        if part.first != year:
            raise DiskError(f"{run / YEARS}: the file of year {year} is missing")
        year = part.last + 1
    if year < end:
        raise DiskError(f"{run / YEARS}: the file of year {year} is missing")


def recorded_years(run: Path) -> int:
    """The year after the last that a run's list of files has, though some may be damaged.

    Raises DiskError where the list is damaged.
    """
    return _end(_uncovered(_known(run, YEARS, read_records(run))))


def _simulated_years(run: Path) -> int:
    """How many years a run has certainly simulated, by its status and its newest checkpoint."""
    manifest = read_json_object(run / MANIFEST)
    years = _checkpointed_years(run, manifest.get("run_id"))
    # A repetition ends where its run had come to, and the earliest runs have no configuration.
    configured = (manifest.get("configuration") or {}).get("years", 0)
    if manifest.get("status") == "complete" and "replay_of" not in manifest:
        years = max(years, configured if type(configured) is int else 0)
    return years


def _checkpointed_years(run: Path, run_id: object) -> int:
    """The year of the newest of a run's own checkpoints, by more than its name."""
    for path in sorted((run / CHECKPOINTS).glob("????????-??????"), reverse=True):
        with suppress(DiskError, FileNotFoundError, NotADirectoryError):
            meta = read_json_object(path / CHECKPOINT_META)
            year = meta.get("year")
            named = type(year) is int and path.name.startswith(f"{year:08d}-")
            if named and meta.get("run_id") in (None, run_id):
                return int(path.name[:8])
    return 0


def _check_unlisted(run: Path, named: Sequence[Part], kept: Sequence[Part], end: int) -> None:
    """Raise DiskError where the list lacks a file of years before `end` that no other file has.

    A crash leaves such files only after the last year in the list.
    """
    for part in named:
        overlaps = any(part.first <= other.last and other.first <= part.last for other in kept)
        if part.last < end and not overlaps:
            raise DiskError(f"{run / PARTS}: damaged (lacks {part.path.relative_to(run)})")


# --- reading --------------------------------------------------------------------------------------


def verify(part: Part) -> None:
    """Raise DiskError where a file is not what was written, as far as the list says what that is.

    Of files that are not in the list, names and years are compared.
    """
    with _explained(part.path):
        if part.record is not None:
            check_sha256(part.path, part.record)
        else:
            check_regular(part.path)
            # absolute, since Arrow takes a leading ~ for the home folder
            _check_rows(part, pq.read_table(part.path.absolute(), columns=["year"]))


def check_sha256(path: Path, record: PartRecord) -> None:
    """Raise DiskError where a file is not what was written."""
    with _explained(path):
        if sha256_of(path) != record.sha256:
            raise DiskError(f"{path}: not what was written ({PARTS} has another SHA-256)")


def read_part(part: Part) -> pa.Table:
    """All rows of a file. Raises DiskError where it is damaged."""
    verify(part)
    with _explained(part.path):
        return pq.read_table(part.path.absolute())


def row_groups(part: Part) -> Iterator[pa.Table]:
    """The rows of a file, one row group at a time. Raises DiskError where it is damaged."""
    verify(part)
    with _explained(part.path), pq.ParquetFile(part.path.absolute()) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def read_table(
    run: Path, table: str, *, since: int | None = None, before: int | None = None
) -> pa.Table:
    """The rows of a table from one year until before another; without columns if it has no files.

    since, before: None for the first year, and for all years. Other files are not read.

    Raises DiskError where a file with such rows is damaged or missing.
    """
    read: list[pa.Table] = []
    columns: pa.Schema | None = None
    for path, rows in read_parts(run, table, since=since, before=before):
        try:
            columns = pa.unify_schemas(
                [rows.schema] if columns is None else [columns, rows.schema],
                promote_options="permissive",
            )
        except pa.ArrowException as error:
            raise DiskError(f"{path}: damaged ({first_line(error)})") from error
        read.append(rows)
    if not read:
        return pa.table({})
    found = pa.concat_tables(read, promote_options="permissive")
    if since is not None:
        found = found.filter(pc.field("year") >= since)
    return found if before is None else found.filter(pc.field("year") < before)


def read_parts(
    run: Path, table: str, *, since: int | None = None, before: int | None = None
) -> list[tuple[Path, pa.Table]]:
    """Each file of a table with its rows, though a process may be writing or merging files.

    since: only files with this year or later ones. before: as in `parts`. Raises DiskError where
    such a file is damaged or missing.
    """
    while True:
        then = _list_as_it_is(run)
        try:
            return [
                (part.path, read_part(part))
                for part in parts(run, table, before=before)
                if since is None or part.last >= since
            ]
        except DiskError:
            if _list_as_it_is(run) == then:
                raise


def _list_as_it_is(run: Path) -> bytes | None:
    with suppress(OSError):
        check_regular(run / PARTS)
        return (run / PARTS).read_bytes()
    return None


def _check_rows(part: Part, years: pa.Table) -> None:
    """Raise DiskError unless a file holds the years of its name."""
    found = pc.min_max(years["year"])
    low, high = found["min"].as_py(), found["max"].as_py()
    if type(low) is not int or type(high) is not int or low < part.first or high > part.last:
        raise DiskError(f"{part.path}: damaged (holds years {low} to {high})")
    expected = part.last - part.first + 1
    if part.path.parent.name == YEARS and years.num_rows != expected:
        raise DiskError(f"{part.path}: damaged (holds {years.num_rows} years, not {expected})")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors of the disk and of Arrow into a DiskError that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise DiskError(f"{path}: missing") from None
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DiskError(f"{path}: damaged ({first_line(error)})") from error
