"""The formats of requests, in which servers with OpenAI's interface differ."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from llm.engines.base import estimated_prompt_tokens
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.refusals import (
    REFUSALS,
    StructuredOutput,
    longest_taken,
    refuses_answer_limit,
    refuses_field,
    refuses_seed,
    refuses_system,
    sampling_setting,
    structured_output_after,
    wants_stream,
)
from llm.messages import Draw, Message, Request

_FORMS: tuple[StructuredOutput, ...] = ("json_schema", "json_object", "plain")
RAISED = 4  # by how much the limit on an answer's tokens is raised, once


@dataclass(frozen=True)
class RequestFormat:
    """The format of requests to one server.

    It begins with all fields, and loses those without which the server answers.

    system_role: whether the words to the system are a message of their own, or begin the first
    question. stream: whether the answer is asked for in pieces. answer_factor: how many times
    `llm.max_tokens` an answer may have.
    """

    structured_output: StructuredOutput = "json_schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    seed: bool = True
    system_role: bool = True
    stream: bool = False
    answer_factor: int = 1

    def answer_tokens(self, request: Request, max_model_len: int) -> int:
        """Tokens that an answer may have: raised by the factor as far as the model leaves room."""
        asked = request.sampling.max_tokens
        if self.answer_factor == 1:
            return asked
        room = max_model_len - estimated_prompt_tokens(request.messages)
        return max(asked, min(asked * self.answer_factor, room))

    def body(self, model: str, request: Request, max_model_len: int) -> dict[str, Any]:
        """The body of one chat completion."""
        sampling = request.sampling
        messages = [
            {"role": message.role, "content": message.content}
            for message in (
                request.messages if self.system_role else _without_system(request.messages)
            )
        ]
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "temperature": sampling.temperature,
        }
        body[self.limit] = self.answer_tokens(request, max_model_len)
        if sampling.top_p != 1.0:
            body["top_p"] = sampling.top_p
        if self.seed:
            body["seed"] = _seed(request.draw)
        if self.stream:
            body["stream"] = True
        if request.schema is None:
            return body
        if self.structured_output == "json_schema":
            schema = {"name": "decision", "strict": True, "schema": request.schema}
            return body | {"response_format": {"type": "json_schema", "json_schema": schema}}
        asked = next(
            (message for message in reversed(messages) if message["role"] == "user"), messages[-1]
        )
        asked["content"] += (
            "\nAnswer with JSON alone, as this JSON schema describes it: "
            f"{json.dumps(request.schema)}"
        )
        if self.structured_output == "plain":
            return body
        return body | {"response_format": {"type": "json_object"}}

    def changes_after(self, failure: RequestFailure) -> dict[str, Any]:
        """What to change after this failure, by its words; nothing where they do not say it."""
        # the words of an HTTP 500 may be about anything: what is guessed is tried both ways
        if failure.status not in REFUSALS or failure.status == 500:
            return {}
        if self.limit == "max_tokens" and (
            refuses_field("max_tokens", failure) and "too large" not in failure.complaint
        ):
            return {"limit": "max_completion_tokens"}
        if weaker := structured_output_after(self.structured_output, failure):
            return {"structured_output": weaker}
        if self.seed and refuses_seed(failure):
            return {"seed": False}
        if self.system_role and refuses_system(failure):
            return {"system_role": False}
        if not self.stream and wants_stream(failure):
            return {"stream": True}
        return {}

    def guesses(self) -> Iterator["RequestFormat"]:
        """What to try where the server does not say what it refuses: one change, then several."""
        forms: list[dict[str, Any]] = [
            {"structured_output": form}
            for form in _FORMS[_FORMS.index(self.structured_output) + 1 :]
        ]
        no_system, no_seed = {"system_role": False}, {"seed": False}
        limit, stream = {"limit": "max_completion_tokens"}, {"stream": True}
        weakest = {"structured_output": "plain"}
        seen = {self}
        for changes in (
            *forms,
            no_system,
            no_seed,
            limit,
            stream,
            weakest | no_system,
            weakest | no_seed,
            weakest | no_system | no_seed,
            weakest | no_system | no_seed | limit,
            weakest | no_system | no_seed | stream,
        ):
            guess = replace(self, **changes)
            if guess not in seen:
                seen.add(guess)
                yield guess

    def joined(self, other: "RequestFormat") -> "RequestFormat":
        """The format without anything that one of the two lacks."""
        forms = (self.structured_output, other.structured_output)
        limits = (self.limit, other.limit)
        return RequestFormat(
            structured_output=max(forms, key=_FORMS.index),
            limit="max_completion_tokens" if "max_completion_tokens" in limits else "max_tokens",
            seed=self.seed and other.seed,
            system_role=self.system_role and other.system_role,
            stream=self.stream or other.stream,
            answer_factor=max(self.answer_factor, other.answer_factor),
        )

    def words(self, before: "RequestFormat") -> str:
        """What has been learned since `before`, for the user; "" for nothing."""
        learned = {
            "structured_output": "takes no JSON schema: asked "
            + ("with json_object" if self.structured_output == "json_object" else "in words alone"),
            "limit": "takes max_completion_tokens in place of max_tokens",
            "seed": "takes no seed",
            "system_role": "takes no system message: it begins the first question",
            "stream": "answers only in streams",
            "answer_factor": "needs more than llm.max_tokens for an answer: asked with "
            f"{self.answer_factor} times as many",
        }
        changed = [n for n in learned if getattr(self, n) != getattr(before, n)]
        return "; ".join(learned[name] for name in changed)


def is_about_request(failure: RequestFailure) -> bool:
    """Whether a server's words are about how it was asked, and not about itself."""
    return (
        bool(RequestFormat().changes_after(failure))
        or longest_taken(failure) is not None
        or sampling_setting(failure) is not None
        or refuses_answer_limit(failure)
    )


def _without_system(messages: tuple[Message, ...]) -> list[Message]:
    """The chat with its words to the system at the head of what the user says.

    Neighbours of one role become one message, since roles must then alternate.
    """
    merged: list[Message] = []
    for message in messages:
        role = "user" if message.role == "system" else message.role
        if merged and merged[-1].role == role:
            merged[-1] = Message(role, f"{merged[-1].content}\n\n{message.content}")
        else:
            merged.append(Message(role, message.content))
    return merged


def _seed(draw: Draw) -> int:
    """A seed of 31 bits, the same on every machine."""
    digest = hashlib.sha256(json.dumps(vars(draw), sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:4]) & 0x7FFF_FFFF
