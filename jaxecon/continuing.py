"""Going on with a run on disk: resume it, replay it, or branch off another future from one of its years."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jaxecon import api
from jaxecon import config as configuration
from jaxecon.build import dtype_of
from jaxecon.checkpoint import Checkpoint, Damaged, Position, newest, remove_after, verified
from jaxecon.config import Config
from jaxecon.digest import Difference, Digest, differences, digest_at
from jaxecon.errors import UserError
from jaxecon.hosts import first, refuse_several, together
from jaxecon.records import (
    CHECKPOINTS,
    TRANSCRIPT,
    Bystander,
    Recorder,
    Run,
    changed_files,
    environment,
    outside_files,
    refuse_existing,
    refuse_while_written,
)
from jaxecon.simulation import Silent

if TYPE_CHECKING:
    from jaxecon.simulation import Listener, LLMUsage, RunState, Simulation
    from llm.engine import Draw, Engine

# Settings that change nothing of what a run computes: how it is served, kept and paid for.
_FREE = (
    *("checkpoint", "device", "devices", "planner.compared_with", "signatures", "llm.budget_tokens", "llm.budget_usd"),
    *("kv_cache_gib", "gpu_memory_share", "api_key_env", "max_connections", "requests_per_minute"),
    *("tokens_per_minute", "timeout_seconds", "transport_retries", "patience_seconds", "price", "transcript"),
)


# --- resume --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resumption:
    """How a run goes on. position: from where. damaged: checkpoints that were passed over, one line each. changed: what
    differs from what the run began with and was forced. inexact: what differs so that equal bits cannot be promised."""

    position: Position
    damaged: tuple[str, ...]
    changed: tuple[str, ...]
    inexact: tuple[str, ...]


def resume(
    path: str | Path,
    *,
    force: bool = False,
    overrides: Sequence[str] = (),
    listener: "Listener | None" = None,
    engine: "Engine | None" = None,
    tell: Callable[[Resumption], None] | None = None,
) -> Run:
    """Go on with a run from its newest sound checkpoint, as if it had never stopped.

    overrides: `key=value`; what changes the results needs force. tell: is called with the Resumption before the run goes on.
    Does nothing to a complete run.

    Raises UserError: another process writes the run, or configuration, code or model are others than at its beginning and
    `force` is not given; nothing has changed then.
    """
    run = _continuable(path)
    with ExitStack() as stack:
        recorder = stack.enter_context(closing(together(lambda: _recorder(run))))
        config = configuration.load(run.config, overrides)
        changed, given = _changed_settings(recorder.manifest["configuration"], config)
        now = environment(config)
        changed += changed_code(recorder.manifest, now)
        changed += changed_files(recorder.manifest["files"], outside_files(config))
        checkpoint, damaged = newest(run.path / CHECKPOINTS)
        if checkpoint is not None:
            changed += _lost_requests(run.path / TRANSCRIPT, checkpoint)
        elif _first(run).year:
            raise UserError(f"{run.path}: a branch whose first checkpoint is lost; branch again ({'; '.join(damaged)})")
        _refuse(run.path, changed, force)
        if recorder.manifest["status"] == "complete" and not changed:
            if given:
                recorder.configure(config)
            return run
        if config.needs_engine:
            api.check_engines(config)
        prepared = api.assembled(config, run.path)
        served = stack.enter_context(api.start_engines(config, engine))
        changed += _changed_models(recorder.manifest["identities"], api.identities(served))
        _refuse(run.path, changed, force)
        position = Position(0, 0) if checkpoint is None else checkpoint.position
        if config.years < position.year:
            raise UserError(f"years: {config.years}; {run.path} has lived {position.year}")
        inherited, lost = _inherited(recorder.manifest)
        apart = (*inexact(recorder.manifest, now), *lost)
        resumption = Resumption(position, tuple(damaged), tuple(changed), apart)

        def begin(simulation: "Simulation", bridge: Any) -> None:
            if checkpoint is not None:
                if bridge is not None:
                    bridge.restore_accounts(checkpoint.meta["accounts"], checkpoint.meta["waited"])
                simulation.restore(checkpoint)
            if tell is not None:
                tell(resumption)
            together(lambda: recorder.rewind(position.year))
            if first():
                remove_after(run.path / CHECKPOINTS, position)
            recorder.remove("stopped", "error", "finished", "summary")
            if changed or given:
                recorder.configure(config)
            if changed:
                recorder.update(models=api.models(served), identities=api.identities(served))
            entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "from": [position.year, position.day]}
            entry |= {"damaged": damaged, "changed": changed, "given": given, "inexact": list(apart), "command": now["command"]}
            recorder.update(status="running", resumed=[*recorder.manifest.get("resumed", []), entry], **now)

        api.live(prepared, recorder, served, listener, begin=begin, inherited=inherited)
    return Run(run.path)


def _inherited(manifest: Mapping[str, Any]) -> tuple[Path | None, list[str]]:
    """The transcript whose answers a branch shares with its run; or that it is gone."""
    origin = manifest.get("branched_from")
    if origin is None:
        return None, []
    path = Path(origin["run"]) / TRANSCRIPT
    if path.exists():
        return path, []
    return None, [f"{path}: gone: what it answered is asked for again"] if origin.get("answers") else []


def _recorder(run: Run) -> Recorder:
    return Recorder.open(run.path) if first() else Bystander(run.path, run.manifest)


def _continuable(path: str | Path) -> Run:
    run = Run(path)
    if "configuration" not in run.manifest:
        raise UserError(f"{path}: written by a jaxecon without checkpoints; it cannot be gone on with")
    return run


def _refuse(path: Path, changed: Sequence[str], force: bool) -> None:
    if changed and not force:
        raise UserError(f"{path}: not what the run began with: {'; '.join(changed)}; --force goes on and records it")


def _changed_settings(before: Mapping[str, Any], config: Config) -> tuple[list[str], list[str]]:
    """Those that change what a run computes, and those that are free."""
    old, new = dict(_settings(before)), dict(_settings(config.model_dump(mode="json")))
    found: tuple[list[str], list[str]] = [], []
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            found[_is_free(name)].append(f"{name}: {old.get(name)} -> {new.get(name)}")
    return found


def _settings(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _is_free(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in _FREE) or (
        name.startswith("llm.") and any(part in _FREE for part in name.split("."))
    )


def _first(run: Run) -> Position:
    """Where a run began: a branch does not in year 0."""
    return Position(run.manifest.get("branched_from", {"year": 0})["year"], 0)


def changed_code(manifest: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [] if now["code"] == manifest["code"] else [f"jaxecon's code: {manifest['code'][:12]} -> {now['code'][:12]}"]


def _lost_requests(path: Path, checkpoint: Checkpoint) -> list[str]:
    """Whether the transcript is shorter than it was when the checkpoint was written."""
    before = checkpoint.meta.get("transcript_requests")
    if before is None:
        return []
    now = 0
    if path.exists():
        from llm.replay import Transcript

        with closing(Transcript(path, read_only=True)) as transcript:
            now = transcript.counts().requests
    return [f"requests in {path.name}: {before} -> {now}"] if now < before else []


def _changed_models(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    """Identities alone: how a model is run may change."""
    changed = []
    for cohort in sorted((before or {}).keys() | (now or {}).keys()):
        old, new = ((identities or {}).get(cohort, {}) for identities in (before, now))
        changed += [
            f"{cohort}'s {part}: {old.get(part)} -> {new.get(part)}"
            for part in dict.fromkeys([*old, *new])
            if old.get(part) != new.get(part)
        ]
    return changed


def inexact(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What equal bits presuppose and is not as it was."""
    found = []
    for section, names in (
        ("versions", ("python", "jax", "jaxlib", "numpy")),
        ("hardware", ("cpu", "cpu_features", "visible_cores", "devices")),
    ):
        old, new = before[section], now[section]
        found += [f"{name}: {old.get(name)} -> {new.get(name)}" for name in names if old.get(name) != new.get(name)]
    on = [manifest["hardware"].get("economy_on", "1 device") for manifest in (before, now)]  # manifests before it: always one
    return found + ([f"economy_on: {on[0]} -> {on[1]}"] if on[0] != on[1] else [])


# --- replay --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replay:
    """A run and what came of living it again. differences: empty where the digests are equal. notes: what to know of it."""

    recorded: Digest
    replayed: Digest
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def equal(self) -> bool:
        return self.recorded == self.replayed and not self.differences


def replay(path: str | Path, *, out: str | Path | None = None, listener: "Listener | None" = None) -> Replay:
    """Live a run again as far as its newest sound checkpoint, with its transcript for a model, and compare the two.

    out: a new folder in which to keep the repetition.

    Raises UserError: nothing to compare with, or a run that is being written; EngineError: the transcript lacks an answer that
    the run must have had.
    """
    refuse_several("replay")
    run = _continuable(path)
    refuse_while_written(run.path)
    recorded, damaged = newest(run.path / CHECKPOINTS)
    if recorded is None:
        raise UserError(f"{path}: has no sound checkpoint to compare with")
    forced = [change for entry in run.manifest.get("resumed", []) for change in entry["changed"]]
    if forced:
        raise UserError(f"{path}: was changed on its way ({'; '.join(forced)}), which a replay cannot repeat")
    now = environment(run.config)
    resumed = [difference for entry in run.manifest.get("resumed", []) for difference in entry["inexact"]]
    notes = [*damaged, *inexact(run.manifest, now), *changed_code(run.manifest, now), *dict.fromkeys(resumed)]
    with ExitStack() as stack:
        folder = Path(out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jaxecon-replay-"))) / "run")
        refuse_existing(folder)
        config = configuration.load(run.config, ["checkpoint.every_minutes=null", "checkpoint.every_years=null"])
        prepared = api.assembled(config, folder)
        served = stack.enter_context(_replaying(run))
        recorder = api.create(prepared, served, replay_of=str(run.path.resolve()))
        stack.callback(recorder.close)
        recorder.inherit(run.past)

        def begin(simulation: "Simulation", bridge: Any) -> None:
            if _first(run).year:
                simulation.restore(_origin(run))

        api.live(prepared, recorder, served, listener, begin=begin, until=recorded.position)
        again, _ = newest(folder / CHECKPOINTS)
        digests = digest_at(run.path, recorded), digest_at(folder, again)
        apart = [] if digests[0] == digests[1] else differences(run.path, folder, (recorded, again))
        if served:
            apart += _different_decisions(run.path, folder, recorded.position)
    return Replay(*digests, tuple(apart), tuple(notes))


def _origin(run: Run) -> Checkpoint:
    """The checkpoint with which a branch began."""
    try:
        return verified(run.path / CHECKPOINTS / _first(run).name)
    except Damaged as error:
        raise UserError(f"{error}: the branch cannot be lived again") from None


def _different_decisions(one: Path, other: Path, until: Position) -> list[Difference]:
    """What was decided through a language model before a position, compared one by one."""
    from llm.replay import Transcript

    with ExitStack() as stack:
        both = [stack.enter_context(closing(Transcript(path / TRANSCRIPT, read_only=True))) for path in (one, other)]
        lists = [[d for d in t.decisions() if _decided_at(d[0]) < until] for t in both]
    apart = sum(a != b for a, b in zip_longest(*lists))
    return [Difference("transcript", "decisions", True, float(apart), apart / max(map(len, lists)))] if apart else []


def _decided_at(draw: "Draw") -> Position:
    """The run's position when it was decided: people are asked whether they are satisfied with a day when it is done."""
    return Position(draw.year, draw.day + (draw.kind == "satisfaction"))


@contextmanager
def _replaying(run: Run) -> Iterator[dict[str, Any]]:
    """What serves each LLM cohort of a run from the run's own transcript."""
    if not run.config.needs_engine:
        yield {}
        return
    api.check_bridge()
    from llm.serving import replaying

    with replaying(run.config, run.path / TRANSCRIPT, run.manifest["identities"]) as served:
        yield served


# --- branch --------------------------------------------------------------------------------------------------------

_PEOPLE = ("seed", "population", "precision", "llm.memory.window", "llm.memory.best")  # what a state is made of


def branch(
    path: str | Path,
    *,
    year: int,
    out: str | Path,
    overrides: Sequence[str] = (),
    seeds: int = 1,
    listener: "Listener | None" = None,
    engine: "Engine | None" = None,
) -> list[Run]:
    """New runs from the state in which a run began a year, under other policies, planners or models.

    overrides: `key=value` on top of the run's configuration; the people stay. A changed `schedule` begins that year; another
    planner takes over then. seeds: how many futures, which differ in `draw_seed` and lie in out/future-0..; the first has the
    run's own. What does not depend on what was changed draws the same random numbers, and gets the same answers from the
    run's transcript, as in the run.

    Raises UserError: a run that is being written, a year that it has not got to, other people, folders that exist.
    """
    refuse_several("branch")
    run, position = _continuable(path), Position(year, 0)
    refuse_while_written(run.path)
    first, last = _first(run).year, run.last_year + 1
    if seeds < 1:
        raise UserError(f"--seeds: {seeds}; 1 or more")
    if not first <= year <= last:
        raise UserError(f"--year: {year}; {path} has lived up to year {last}: {first} to {last}")
    draw_seed = configuration.load(run.config, overrides).seed_of_draws
    configs, folders = [], []
    for future in range(seeds):
        drawn = [f"draw_seed={draw_seed + future}"] if future else []
        config = configuration.load(run.config, [*overrides, *drawn])
        changed, _ = _changed_settings(run.config.model_dump(mode="json"), config)
        if dtype_of(config) is not dtype_of(run.config):
            changed.insert(0, f"precision: {np.dtype(dtype_of(run.config))} -> {np.dtype(dtype_of(config))}")
        wrong = [change for change in changed if any(change.startswith((f"{p}:", f"{p}.")) for p in _PEOPLE)]
        if config.dynamics.switches != run.config.dynamics.switches:
            wrong += [change for change in changed if change.startswith("dynamics.")]
        if wrong:
            raise UserError(
                f"{wrong[0]}; a branch keeps its run's people ({', '.join(_PEOPLE)}) and what changes of itself (dynamics)"
            )
        if config.years <= year:
            raise UserError(f"years: {config.years}; a branch from year {year} needs more, such as --set years={year + 4}")
        configs.append((config, changed))
        folders.append(Path(out) / f"future-{future}" if seeds > 1 else Path(out))
        refuse_existing(folders[-1])
    if configs[0][0].needs_engine:
        api.check_engines(configs[0][0])
    state = _relived(run, position)
    past = pa.concat_tables([run.past, run.years.slice(0, year - first)], promote_options="permissive")
    transcript = run.path / TRANSCRIPT
    with ExitStack() as stack:
        served = stack.enter_context(api.start_engines(configs[0][0], engine))
        for (config, changed), folder in zip(configs, folders, strict=True):
            prepared = api.assembled(config, folder)
            origin: dict[str, Any] = {"run": str(run.path.resolve()), "year": year, "changed": changed}
            origin["answers"] = transcript.exists()
            origin["configuration_hash"] = run.manifest["configuration_hash"]
            with closing(api.create(prepared, served, branched_from=origin)) as recorder:
                recorder.inherit(past)

                def begin(simulation: "Simulation", bridge: Any, changed: Sequence[str] = changed) -> None:
                    if year:
                        simulation.begin_at(position, _adapted(state, simulation, changed, run))
                    simulation.save()

                inherited = transcript if transcript.exists() else None
                api.live(prepared, recorder, served, listener, begin=begin, inherited=inherited)
    return [Run(folder) for folder in folders]


def _relived(run: Run, position: Position) -> "RunState":
    """The state at a position: lived again from the last checkpoint before it."""
    from jaxecon.simulation import Simulation

    checkpoint, damaged = newest(run.path / CHECKPOINTS, until=position)
    if checkpoint is None and _first(run).year:
        raise UserError(f"{run.path}: a branch whose first checkpoint is lost ({'; '.join(damaged)})")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jaxecon-branch-")))
        prepared = api.assembled(run.config, folder)
        bridge, _ = api.make_bridge(run.config, folder, stack.enter_context(_replaying(run)), None, stack)
        planner, workers = api.make_deciders(prepared, bridge)
        again = _Again(run)
        simulation = Simulation(
            run.config, prepared.economy, prepared.schedule, planner, workers=workers, meter=bridge, listener=again
        )
        if checkpoint is not None:
            simulation.restore(checkpoint)
        simulation.run(position)
    return simulation.state


class _Again(Silent):
    """Checks that years that are lived again are the recorded ones, to rounding on another machine."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._recorded = {row["year"]: row for row in run.years.to_pylist()}

    def on_year(self, row: Mapping[str, Any], usage: "LLMUsage") -> None:
        recorded = self._recorded[row["year"]]
        same = all(row[name] == recorded[name] for name in row if name.startswith("rate_"))
        if not same or abs(row["swf"] - recorded["swf"]) > 1e-3 * abs(recorded["swf"]):
            raise UserError(
                f"{self._run.path}: year {row['year']}, lived again, is not what was recorded (other code, or a run that was "
                "changed on its way); branch from a year that has a checkpoint"
            )


def _adapted(state: "RunState", simulation: "Simulation", changed: Sequence[str], run: Run) -> "RunState":
    """The state of a run under a branch's configuration. Raises UserError: what its planner asks about was not recorded."""
    if any(change.startswith("schedule.") for change in changed):
        state = replace(state, schedule=simulation.schedule, observation=None)
    if any(change.startswith(("planner.", "elections.", "schedule.brackets")) for change in changed):
        state = replace(state, planner=simulation.planner_state(state.schedule))
    seen, asks = state.observation, simulation.planner.asks
    if seen is not None and set(seen.lived) != set(asks):
        lived = {name: _lived(run, name, seen.year, simulation.economy.cohorts[name].size) for name in asks}
        state = replace(state, observation=replace(seen, lived=lived))
    return state


def _lived(run: Run, cohort: str, year: int, size: int) -> dict[str, np.ndarray]:
    """A cohort's year as a planner that asks about it sees it, from the run's tables."""
    agents = run.agents
    if agents.num_rows:
        agents = agents.filter((pc.field("year") == year) & (pc.field("cohort") == cohort))
    if agents.num_rows != size:
        raise UserError(
            f"{run.path}: year {year} of {cohort} is not in its agents.parquet, and voters must see it (record.agents)"
        )
    rebate = run.years.filter(pc.field("year") == year)["rebate"][0].as_py()
    columns = {name: np.asarray(agents[name], float) for name in ("hours", "income", "tax", "utility")}
    return {**columns, "rebate": np.full(size, rebate)}
