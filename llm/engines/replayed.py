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
    """The Engine protocol on a transcript: it answers what was answered there, and nothing else.

    The file stays as it is.

    cohorts: whose requests say which model was recorded; all without. identity: that model, where
    it is known.

    Raises:
        UserError: no such transcript, nothing recorded for these cohorts, or by several models.
    """

    def __init__(
        self,
        path: Path | str,
        cohorts: Sequence[str] | None = None,
        *,
        identity: Mapping[str, str] | None = None,
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
        self._path = self._transcript.path

    @property
    def identity(self) -> dict[str, str]:
        """The recorded engine's: what its requests' keys were made with."""
        return dict(self._identity)

    @property
    def description(self) -> dict[str, str | int | float]:
        """What the manifest records beside the identity: which transcript answers."""
        return {"replay_of": str(self._path)}

    def prompt_tokens(self, request: Request) -> int:
        """No tokens (0) for a prompt that was recorded, and too many for any other.

        The bridge then cuts a history as it did in the recorded run.
        """
        if self._transcript is None:
            raise EngineError("the replay engine is closed")
        key = request_key(self._identity, request)
        return 0 if self._transcript.get_many([key]) else sys.maxsize

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        """Answer all, or none where one was never recorded.

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
