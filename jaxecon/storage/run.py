"""Runs on disk, and how they are read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jaxecon.config.read import load_config, read_yaml, to_yaml
from jaxecon.config.renamed_settings import migrate
from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError, UserError, first_line
from jaxecon.storage.failure_diagnostics import Diagnostic, DiagnosticsMonitor
from jaxecon.storage.manifest import read_manifest
from jaxecon.storage.parts import (
    check_sha256,
    parts,
    read_part,
    read_parts,
    read_records,
    read_table,
)
from jaxecon.storage.paths import (
    AGENTS,
    BALLOTS,
    CONFIG,
    ELECTIONS,
    MANIFEST,
    PAST,
    PROMPTS,
    SURVEY,
    YEARS,
)
from jaxecon.storage.portable import located_configuration
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
        DiskError: the manifest or the configuration is damaged. So do the tables, when they are
            read, where one of their files is missing or is not what was written.
    """

    def __init__(self, path: str | Path) -> None:
        if not isinstance(path, str | Path):
            raise UserError(f"run: {path!r}; the path of a run directory")
        self.path = Path(path)
        self.manifest, self.stored_format = read_manifest(self.path)
        self.config = _naming(self.path / CONFIG, self._read_config)

    def _read_config(self) -> Config:
        """The configuration; templates are read from the run's own copy."""
        tree = _located(self.path, self.manifest, migrate(read_yaml(self.path / CONFIG)))
        if (self.path / PROMPTS).is_dir() and isinstance(tree.setdefault("llm", {}), dict):
            tree["llm"]["prompts"] = str(self.path / PROMPTS)
        return load_config(tree)

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
        table = self._table(SURVEY)
        return table if table.num_columns else SURVEY_SCHEMA.empty_table()

    @property
    def past(self) -> pa.Table:
        """The years before a branch began, as recorded by the run from which it branched.

        Returns:
            One row a year; empty for a run that is not a branch.
        """
        path, record = self.path / PAST, (read_records(self.path) or {}).get(PAST)
        if record is not None:
            check_sha256(path, record)
        elif not path.exists():
            return pa.table({})
        try:
            return pq.read_table(path.absolute())
        except (OSError, pa.ArrowException) as error:
            raise DiskError(f"{path}: damaged ({first_line(error)})") from error

    def monitor(self) -> DiagnosticsMonitor:
        """The monitor of diagnostics as it stands after the last year.

        Returns:
            A monitor that further years can be added to.
        """
        monitor = DiagnosticsMonitor(self.config)
        for row in self.past.to_pylist():
            monitor.recall(row)
        for path, rows in read_parts(self.path, YEARS):
            try:
                for row in rows.to_pylist():
                    monitor.see(row)
            except (KeyError, TypeError) as error:  # a run without a list of its files
                raise DiskError(f"{path}: damaged (column {error})") from error
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
        files = parts(self.path, YEARS)
        return files[-1].last if files else -1

    def _table(self, name: str) -> pa.Table:
        return read_table(self.path, name)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, status={self.manifest.get('status')!r})"


def recorded_config(path: Path, manifest: Mapping[str, Any]) -> Config:
    """The configuration in the manifest of the run at `path`, which no user edits.

    Settings that are newer than the run have their defaults. Raises UserError where it is damaged.
    """
    return _naming(
        path / MANIFEST, lambda: load_config(_located(path, manifest, manifest["configuration"]))
    )


def configuration_file(manifest: Mapping[str, Any]) -> bytes:
    """config.yaml as the manifest has it, with the paths as they are there."""
    return to_yaml(load_config(manifest["configuration"])).encode()


def _located(path: Path, manifest: Mapping[str, Any], tree: dict[str, Any]) -> dict[str, Any]:
    """A tree of settings in which paths are absolute; earlier versions wrote them as given."""
    return located_configuration(tree, path) if "paths" in manifest else tree


def _naming(path: Path, read: Callable[[], Config]) -> Config:
    """A configuration; an error says in which of the run's files it is."""
    try:
        return read()
    except UserError as error:
        raise UserError(f"{path}: {str(error).removeprefix(f'configuration: {path}: ')}") from error


def last_row(path: Path) -> dict[str, Any] | None:
    """The last row of years.parquet of the run at `path`; None before the first year is there."""
    last = parts(path, YEARS)[-1:]
    if not last:
        return None
    rows = read_part(last[0]).slice(last[0].last - last[0].first).to_pylist()
    return dict(rows[0])
