"""What differs between a run as it began and as it would continue."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from jaxecon.config.fields import changes_results
from jaxecon.config.language import setting_of
from jaxecon.config.read import load_config
from jaxecon.config.settings import Config
from jaxecon.config.yaml_text import flow_text
from jaxecon.core.errors import UserError
from jaxecon.core.text import shortened
from jaxecon.simulation.language import is_same_model, open_transcript, prompts_of
from jaxecon.storage.checkpoint_files import Checkpoint, Position
from jaxecon.storage.manifest import check_continuable
from jaxecon.storage.parts import first_year
from jaxecon.storage.paths import CONFIG, TRANSCRIPT
from jaxecon.storage.portable import located_configuration, path_at, portable_configuration
from jaxecon.storage.provenance import changed_files, outside_files
from jaxecon.storage.run import Run, recorded_config

_MAX_VALUE = 100  # characters of a setting that was changed


def inherited_transcript(run: Run) -> tuple[Path | None, list[str]]:
    """The path of the transcript that a branch inherits, or one line that says it is lost."""
    origin = run.manifest.get("branched_from")
    if origin is None:
        return None, []
    path = path_at(run.path, origin["run"]) / TRANSCRIPT
    if path.exists():
        return path, []
    return None, [f"{path}: not there: what it answered is asked for again"] if origin.get(
        "answers"
    ) else []


def continuable(path: str | Path) -> Run:
    """Open a run that can be resumed, replayed or branched. Raises UserError where it cannot."""
    run = Run(path)
    if "configuration" not in run.manifest:
        raise UserError(f"{path}: written by a jaxecon without checkpoints; it cannot be continued")
    check_continuable(run.path, run.manifest)  # first: what follows relies on it
    asks = recorded_config(run.path, run.manifest).needs_engine
    check_continuable(run.path, run.manifest, asks=asks)
    return run


def refuse_edited(run: Run) -> None:
    """Raise UserError where config.yaml has other settings than those of the recorded results."""
    before = recorded_config(run.path, run.manifest).model_dump(mode="json")
    before["llm"]["prompts"] = run.config.llm.prompts  # the run's own copy, wherever it lies
    changed, _ = changed_settings(before, run.config)
    if changed:
        raise UserError(
            f"{run.path / CONFIG}: not what the run was simulated with: {'; '.join(changed)}"
        )


def refuse_changes(path: Path, changed: Sequence[str], force: bool) -> None:
    """Raise UserError where something has changed that only `force` allows."""
    if changed and not force:
        raise UserError(
            f"{path}: not what the run began with: {'; '.join(changed)}; --force continues "
            "and records it"
        )


def changed_inputs(
    manifest: Mapping[str, Any], before: Mapping[str, Any], config: Config
) -> tuple[list[str], list[str], list[str]]:
    """What differs in settings and in the files that they name, one line each.

    before: the settings that the run began with.

    Returns settings that change the results, those that do not, and files whose content is another
    than the run's. A file or a model of equal content in another place changes no result.
    """
    changed, free = changed_settings(before, config)
    then, now = manifest["files"], outside_files(config)
    names = {line.partition(": ")[0] for line in changed}
    moved = {name for name in names if name in then and then[name] == now.get(name)}
    moved |= _moved_models(manifest, names, before, config)
    free += [line for line in changed if line.partition(": ")[0] in moved]
    changed = [line for line in changed if line.partition(": ")[0] not in moved]
    # only files that the run knew: earlier versions did not record what a rule imports
    same_setting = {
        name: digest
        for name, digest in then.items()
        if not any(f"{name}.".startswith(f"{setting}.") for setting in names)
    }
    files = changed_files(same_setting, {name: now[name] for name in same_setting if name in now})
    return changed, free, files


def differing_settings(there: Run, config: Config) -> list[str]:
    """Settings of a run on disk that are not those of a configuration, one line each.

    Templates are not compared.
    """
    before = recorded_config(there.path, there.manifest).model_dump(mode="json")
    before["llm"]["prompts"] = config.llm.prompts
    # as it would be read from the folder: paths in a changed setting may be from elsewhere
    tree = portable_configuration(config.model_dump(mode="json"), there.path)
    config = load_config(located_configuration(tree, there.path))
    before = load_config(before).model_dump(mode="json")
    changed, _, _ = changed_inputs(there.manifest, before, config)
    return changed


def _moved_models(
    manifest: Mapping[str, Any], names: set[str], before: Mapping[str, Any], config: Config
) -> set[str]:
    """Those of the settings that name a model which, by its content, is the section's of before.

    names: the settings that differ.
    """
    asked = {
        setting: name
        for name, serving in config.servings.items()
        if (setting := f"{setting_of(name)}.model") in names and serving.engine == "vllm"
    }
    if not asked or not manifest["identities"]:
        return set()
    then = load_config(dict(before))
    return {
        setting
        for setting, name in asked.items()
        if is_same_model(config.servings[name].model, name, then, manifest["identities"])
    }


def changed_settings(before: Mapping[str, Any], config: Config) -> tuple[list[str], list[str]]:
    """Settings that differ, one line each: those that change a run's results, and the others."""
    old, new = dict(_settings(before)), dict(_settings(config.model_dump(mode="json")))
    changed: list[str] = []
    free: list[str] = []
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            kind = changed if changes_results(name) else free
            kind.append(f"{name}: {_shown(old.get(name))} -> {_shown(new.get(name))}")
    return changed, free


def _shown(value: Any) -> str:
    """A setting's value in one short piece of text: lists and mappings as YAML writes them."""
    if not isinstance(value, list | dict):
        return str(value)
    return shortened(flow_text(value), _MAX_VALUE)


def _settings(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def first_position(run: Run) -> Position:
    """Where a run began: in year 0 or, for a branch, in a later year."""
    return Position(first_year(run.manifest), 0)


def changed_code(manifest: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return (
        []
        if now["code"] == manifest["code"]
        else [f"jaxecon's code: {manifest['code'][:12]} -> {now['code'][:12]}"]
    )


def refuse_foreign_transcript(run: Run) -> None:
    """Raise DiskError where the transcript in a run's folder is another run's."""
    path = run.path / TRANSCRIPT
    if path.exists():
        open_transcript(path).close()


def lost_requests(path: Path, checkpoint: Checkpoint) -> list[str]:
    """One line where the transcript holds fewer requests than when the checkpoint was written."""
    before = checkpoint.meta.get("transcript_requests")
    if before is None:
        return []
    now = 0
    if path.exists():
        with closing(open_transcript(path)) as transcript:
            now = transcript.counts().requests
    return [f"requests in {path.name}: {before} -> {now}"] if now < before else []


def changed_models(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    """Differences between the models' identities, one line each; how a model is run may change."""
    changed = []
    for cohort in sorted((before or {}).keys() | (now or {}).keys()):
        old, new = ((identities or {}).get(cohort, {}) for identities in (before, now))
        changed += [
            f"{cohort}'s {part}: {old.get(part)} -> {new.get(part)}"
            for part in dict.fromkeys([*old, *new])
            if old.get(part) != new.get(part)
        ]
    return changed


def changed_prompts(manifest: Mapping[str, Any], now: str | None) -> list[str]:
    """One line where language models were asked in other words.

    now: the hash of today's prompts, None in a run that asks no model. Manifests of earlier
    versions have no such hash.
    """
    before = manifest.get("prompts")
    if now is None or before == now or not manifest["identities"]:
        return []
    return [f"the prompts: {before[:12] if before else 'an earlier form'} -> {now[:12]}"]


def refuse_reworded(run: Run) -> None:
    """Raise UserError where the run's transcript cannot answer, since today's prompts differ."""
    reworded = changed_prompts(run.manifest, prompts_of(run.config).digest)
    if reworded:
        raise UserError(
            f"{run.path}: its language models were asked in other words ({reworded[0]}); only the "
            "jaxecon that wrote it, with the templates that it had then, can simulate it again"
        )


def refuse_other_files(run: Run) -> None:
    """Raise UserError where microdata or own rules are not those with which the run was made."""
    before = recorded_config(run.path, run.manifest).model_dump(mode="json")
    _, _, files = changed_inputs(run.manifest, before, run.config)
    if files:
        raise UserError(
            f"{run.path}: cannot be computed again: {'; '.join(files)} is not what the run was "
            "made with"
        )


def inexact(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Versions and hardware that differ, one line each: results may not be bit-identical."""
    differences = []
    for section, names in (
        ("versions", ("python", "jax", "jaxlib", "numpy")),
        ("hardware", ("cpu", "cpu_features", "visible_cores", "devices")),
    ):
        old, new = before[section], now[section]
        differences += [
            f"{name}: {old.get(name)} -> {new.get(name)}"
            for name in names
            if old.get(name) != new.get(name)
        ]
    # manifests older than this entry: always one device
    on = [manifest["hardware"].get("economy_on", "1 device") for manifest in (before, now)]
    return differences + ([f"economy_on: {on[0]} -> {on[1]}"] if on[0] != on[1] else [])
