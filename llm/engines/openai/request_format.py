"""The formats of requests, in which servers with OpenAI's interface differ."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from llm.engines.openai.failure import RequestFailure
from llm.messages import Draw, Request


@dataclass(frozen=True)
class RequestFormat:
    """The format of requests to one server.

    It begins with all fields, and permanently loses those that the server does not accept.
    """

    structured_output: Literal["json_schema", "json_object", "plain"] = "json_schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    seed: bool = True

    def body(self, model: str, request: Request) -> dict[str, Any]:
        """The body of one chat completion."""
        sampling = request.sampling
        messages = [
            {"role": message.role, "content": message.content} for message in request.messages
        ]
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "temperature": sampling.temperature,
        }
        body[self.limit] = sampling.max_tokens
        if sampling.top_p != 1.0:
            body["top_p"] = sampling.top_p
        if self.seed:
            body["seed"] = _seed(request.draw)
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
        """Fields to change after this failure; none where the failure has another reason."""
        said = failure.complaint
        if failure.status not in (400, 422, 501):
            return {}
        if (
            self.limit == "max_tokens"
            and "max_completion_tokens" in said
            and re.search("unsupported|not supported|instead", said)
        ):
            return {"limit": "max_completion_tokens"}
        if self.structured_output != "plain" and re.search(
            "response_format|json_schema|json_object", said
        ):
            weaker = "json_object" if self.structured_output == "json_schema" else "plain"
            return {"structured_output": weaker}
        if self.seed and re.search(r"\bseed\b", said):
            return {"seed": False}
        return {}


def _seed(draw: Draw) -> int:
    """A seed of 31 bits, the same on every machine."""
    digest = hashlib.sha256(json.dumps(vars(draw), sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:4]) & 0x7FFF_FFFF
