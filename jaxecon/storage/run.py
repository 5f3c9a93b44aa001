"""A run on disk, to be read."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jaxecon.config.read import load_config as load_config
from jaxecon.config.read import read_yaml
from jaxecon.config.renamed import migrate
from jaxecon.core.errors import DiskError, UserError
from jaxecon.storage.diagnostics import Diagnostic, DiagnosticsMonitor
from jaxecon.storage.paths import (
    AGENTS,
    BALLOTS,
    CONFIG,
    ELECTIONS,
    FORMAT,
    MANIFEST,
    PAST,
    YEARS,
    parts,
)


class Run:
    """A run on disk. Tables are read when asked for.

    path: its directory. config: the resolved configuration. manifest: versions, hardware, status.
    """

    def __init__(self, path: str | Path) -> None:
        if not isinstance(path, str | Path):
            raise UserError(f"run: {path!r}; the path of a run directory")
        self.path = Path(path)
        try:
            self.manifest: dict[str, Any] = json.loads((self.path / MANIFEST).read_text())
        except FileNotFoundError:
            raise UserError(f"{path}: not a run directory (no {MANIFEST})") from None
        except (OSError, ValueError) as error:
            raise DiskError(f"{self.path / MANIFEST}: cannot be read ({error})") from error
        if self.manifest.get("kind") == "sweep":
            raise UserError(
                f"{path}: holds a sweep, not a run; jaxecon sweep --out {path} --summary shows it"
            )
        if self.manifest.get("format") != FORMAT:
            raise UserError(
                f"{path}: format {self.manifest.get('format')}; this version reads format {FORMAT}"
            )
        self.config = load_config(migrate(read_yaml(self.path / CONFIG)))

    @property
    def years(self) -> pa.Table:
        """One row a year; columns in docs/run-folder.md."""
        return self._table(YEARS)

    @property
    def agents(self) -> pa.Table:
        """One row per recorded agent and year; empty with `record.agents: none`."""
        return self._table(AGENTS)

    @property
    def elections(self) -> pa.Table:
        """One row per candidate and election; empty without any."""
        return self._table(ELECTIONS)

    @property
    def ballots(self) -> pa.Table:
        """One row per recorded voter, election and candidate on its ballot; empty without any."""
        return self._table(BALLOTS)

    @property
    def past(self) -> pa.Table:
        """Of a branch, the years before it began, as the run that it branched from lived them;
        otherwise empty.
        """
        path = self.path / PAST
        return pq.read_table(path) if path.exists() else pa.table({})

    def watch(self) -> DiagnosticsMonitor:
        """The detectors of failure signatures as they stand after its last year."""
        watch = DiagnosticsMonitor(self.config)
        for row in self.past.to_pylist():
            watch.recall(row)
        for part in parts(self.path / YEARS):
            for row in pq.read_table(part.path).to_pylist():
                watch.see(row)
        return watch

    @property
    def signatures(self) -> tuple[Diagnostic, ...]:
        """Signs of failure in its years so far; docs/diagnostics.md."""
        return self.watch().found

    @property
    def summary(self) -> dict[str, Any]:
        """The closing table: `policies`, baselines beside the final schedule, and `llm`, what the
        model cost.
        """
        found = self.manifest.get("summary")
        if found is None:
            raise UserError(
                f"{self.path}: status {self.manifest.get('status')!r}; the summary is written "
                "when a run is complete"
            )
        return dict(found)

    @property
    def last_year(self) -> int:
        """The last that is complete, -1 before the first is."""
        found = parts(self.path / YEARS)
        return found[-1].last if found else -1

    def _table(self, name: str) -> pa.Table:
        found = [pq.read_table(part.path) for part in parts(self.path / name)]
        return pa.concat_tables(found, promote_options="permissive") if found else pa.table({})

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, status={self.manifest.get('status')!r})"
