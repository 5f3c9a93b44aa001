"""An engine that answers from a transcript."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxecon.core.errors import EngineError, UserError
from jaxecon.storage.paths import TRANSCRIPT
from llm.engines.base import OnCompletion
from llm.messages import Request
from llm.transcript.keys import request_key
from llm.transcript.store import Transcript


def transcript_path(run: str) -> Path:
    """The transcript of a run's folder, or the file itself.

    Raises UserError where there is none.
    """
    path = Path(run).expanduser()
    path = path / TRANSCRIPT if path.is_dir() else path
    if not path.is_file():
        raise UserError(
            f"llm.transcript: {run!r}; a run's folder, or its {TRANSCRIPT}: there is no {path}"
        )
    return path


class ReplayEngine:
    """An engine that gives the answers recorded in a transcript, and no others.

    The file does not change.

    cohorts: those whose requests show which model was recorded; None for all. identity: that of the
    model, where it is known. others: those of models that may have answered in its place.

    Raises:
        UserError: there is no such transcript, or it holds answers of no model, or of several, for
            these cohorts.
    """

    def __init__(
        self,
        path: Path | str,
        cohorts: Sequence[str] | None = None,
        *,
        identity: Mapping[str, str] | None = None,
        others: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self._transcript: Transcript | None = Transcript(path, read_only=True)
        try:
            self._identity = (
                dict(identity)
                if identity is not None
                else _only_identity(self._transcript, cohorts)
            )
        except BaseException:
            self._transcript.close()
            raise
        self._others = [dict(other) for other in others]
        self._path = self._transcript.path

    @property
    def identity(self) -> dict[str, str]:
        """The recorded engine's identity, with which its requests' keys were made."""
        return dict(self._identity)

    @property
    def description(self) -> dict[str, str | int | float]:
        """What the manifest records beside the identity: which transcript answers."""
        return {"replay_of": f"{self._path.parent.name}/{self._path.name}"}

    def prompt_tokens(self, request: Request) -> int:
        """0 for a prompt that was recorded, and more than any model takes for all others.

        This makes the bridge cut histories as it did in the recorded run.
        """
        if self._transcript is None:
            raise EngineError("the replay engine is closed")
        keys = [request_key(identity, request) for identity in (self._identity, *self._others)]
        return 0 if self._transcript.get_many(keys) else sys.maxsize

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        """Answer all requests, or none if one of them was never recorded.

        Raises:
            EngineError: the transcript lacks an answer, or the engine is closed.
            UserError: the file cannot be read any more.
        """
        if self._transcript is None:
            raise EngineError("the replay engine is closed")
        keys = [request_key(self._identity, request) for request in requests]
        completions = self._transcript.get_many(keys)
        for key, request in zip(keys, requests, strict=True):
            if key not in completions:
                draw = request.draw
                raise EngineError(
                    f"replay: {self._path} has no answer for {draw.kind} of {draw.cohort} agent "
                    f"{draw.agent}, year {draw.year}, "
                    f"day {draw.day}, attempt {draw.attempt} (the configuration, code or model "
                    "differs from the recorded run)"
                )
        for index, key in enumerate(keys):
            on_completion(index, completions[key])

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._transcript is not None:
            self._transcript.close()
            self._transcript = None


def _only_identity(transcript: Transcript, cohorts: Sequence[str] | None) -> dict[str, str]:
    identities = transcript.identities(cohorts)
    whose = f" for {', '.join(cohorts)}" if cohorts is not None else ""
    if not identities:
        raise UserError(f"replay: {transcript.path} holds no answers{whose}")
    if len(identities) > 1:
        names = "; ".join(
            " ".join(f"{name} {value[:12]}" for name, value in identity.items())
            for identity in identities
        )
        raise UserError(
            f"replay: {transcript.path} holds answers of {len(identities)} models{whose}: {names}"
        )
    return identities[0]
