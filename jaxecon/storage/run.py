"""Runs on disk, and how they are read."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jaxecon.config.read import load_config, read_yaml
from jaxecon.config.renamed_settings import migrate
from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError, UserError
from jaxecon.storage.failure_diagnostics import Diagnostic, DiagnosticsMonitor
from jaxecon.storage.migrations import migrated_manifest
from jaxecon.storage.paths import (
    AGENTS,
    BALLOTS,
    CONFIG,
    ELECTIONS,
    FORMAT,
    MANIFEST,
    PAST,
    PROMPTS,
    SURVEY,
    YEARS,
    parts,
)
from jaxecon.storage.survey import SURVEY_SCHEMA


class Run:
    """A run on disk, whose tables are read when asked for.

    Folders of earlier formats are converted while they are read; their files do not change.

    Args:
        path: its folder.

    Attributes:
        path: its folder.
        config: the resolved configuration; `llm.prompts` is the run's own copy of the templates.
        manifest: versions, hardware, status and summary.

    Raises:
        UserError: there is no run, or this jaxecon cannot read it.
    """

    def __init__(self, path: str | Path) -> None:
        if not isinstance(path, str | Path):
            raise UserError(f"run: {path!r}; the path of a run directory")
        self.path = Path(path)
        manifest = self._read_manifest()
        self.stored_format: int = manifest["format"]
        self.manifest = migrated_manifest(manifest)
        self.config = self._read_config()

    def _read_config(self) -> Config:
        """The configuration; templates are read from the run's own copy."""
        tree = migrate(read_yaml(self.path / CONFIG))
        if (self.path / PROMPTS).is_dir():
            tree.setdefault("llm", {})["prompts"] = str(self.path / PROMPTS)
        return load_config(tree)

    def _read_manifest(self) -> dict[str, Any]:
        """The manifest as stored. Raises UserError unless it is a run's and has a known format."""
        try:
            manifest: dict[str, Any] = json.loads((self.path / MANIFEST).read_text())
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{self.path}: not a run directory (no {MANIFEST})") from None
        except (OSError, ValueError) as error:
            raise DiskError(f"{self.path / MANIFEST}: cannot be read ({error})") from error
        if manifest.get("kind") == "sweep":
            raise UserError(
                f"{self.path}: holds a sweep, not a run; jaxecon sweep --out {self.path} "
                "--summary shows it"
            )
        if manifest.get("format") not in range(1, FORMAT + 1):
            raise UserError(
                f"{self.path}: format {manifest.get('format')}; this version reads formats 1 to "
                f"{FORMAT}"
            )
        return manifest

    @property
    def years(self) -> pa.Table:
        """Statistics of each year.

        Returns:
            One row a year; the columns are described in docs/run-folder.md.
        """
        return self._table(YEARS)

    @property
    def agents(self) -> pa.Table:
        """What was recorded of individual agents.

        Returns:
            One row per recorded agent and year; empty with `record.agents: none`.
        """
        return self._table(AGENTS)

    @property
    def elections(self) -> pa.Table:
        """Candidates and their results.

        Returns:
            One row per candidate and election; empty without elections.
        """
        return self._table(ELECTIONS)

    @property
    def ballots(self) -> pa.Table:
        """How the recorded voters voted.

        Returns:
            One row per recorded voter, election and candidate on its ballot; empty without
            elections.
        """
        return self._table(BALLOTS)

    @property
    def survey(self) -> pa.Table:
        """What language-model workers answered to the questions of `survey`.

        Returns:
            One row per agent, question and year in which it was asked; none without questions.
        """
        return self._table(SURVEY) if parts(self.path / SURVEY) else SURVEY_SCHEMA.empty_table()

    @property
    def past(self) -> pa.Table:
        """The years before a branch began, as recorded by the run from which it branched.

        Returns:
            One row a year; empty for a run that is not a branch.
        """
        path = self.path / PAST
        return pq.read_table(path) if path.exists() else pa.table({})

    def monitor(self) -> DiagnosticsMonitor:
        """The monitor of diagnostics as it stands after the last year.

        Returns:
            A monitor that further years can be added to.
        """
        monitor = DiagnosticsMonitor(self.config)
        for row in self.past.to_pylist():
            monitor.recall(row)
        for part in parts(self.path / YEARS):
            for row in pq.read_table(part.path).to_pylist():
                monitor.see(row)
        return monitor

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Signs of failure in the years so far, by the thresholds of the configuration.

        Returns:
            Each diagnostic that was seen, with its years; docs/diagnostics.md defines them.
        """
        return self.monitor().found

    @property
    def summary(self) -> dict[str, Any]:
        """The closing table.

        Returns:
            `policies`: baselines beside the final schedule; `llm`: what language models did and
            cost; and more, described in docs/run-folder.md.

        Raises:
            UserError: the run is not complete.
        """
        summary = self.manifest.get("summary")
        if summary is None:
            raise UserError(
                f"{self.path}: status {self.manifest.get('status')!r}; the summary is written "
                "when a run is complete"
            )
        return dict(summary)

    @property
    def last_year(self) -> int:
        """The last complete year.

        Returns:
            Counted from 0; -1 before the first is complete.
        """
        files = parts(self.path / YEARS)
        return files[-1].last if files else -1

    def _table(self, name: str) -> pa.Table:
        tables = [pq.read_table(part.path) for part in parts(self.path / name)]
        return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, status={self.manifest.get('status')!r})"


def last_row(path: Path) -> dict[str, Any] | None:
    """The last row of years.parquet of the run at `path`; None before the first year is there."""
    last = parts(path / YEARS)[-1:]
    if not last:
        return None
    rows = pq.read_table(last[0].path).slice(last[0].last - last[0].first).to_pylist()
    return dict(rows[0])
