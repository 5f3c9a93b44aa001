"""Reads a completion from a server's reply."""

from collections.abc import Mapping
from typing import Any

from llm.engines.base import estimated_tokens
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.redaction import Redaction
from llm.messages import Completion, Request, Usage


def completion_of(reply: Any, request: Request, seconds: float, redaction: Redaction) -> Completion:
    """The completion in the JSON of a reply. seconds: from sending to the reply.

    Raises:
        RequestFailure: the reply is not what OpenAI's interface promises.
    """
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text = message.get("content") or message.get("refusal") or ""
        reason = choice.get("finish_reason") or "stop"
        usage = _usage(reply.get("usage"))
    except (KeyError, IndexError, TypeError, AttributeError):
        error = reply.get("error") if isinstance(reply, Mapping) else None
        words = (
            f"an error in place of an answer: {redaction.line(error)}"
            if error
            else "the server's reply has no message"
        )
        raise RequestFailure(words, status=502) from None
    if not isinstance(text, str) or not isinstance(reason, str):
        raise RequestFailure("the server's reply is not text", status=502)
    if usage is None:  # the server reports no tokens: budgets then use estimates
        usage = Usage(
            estimated_tokens(request.messages), 0, -(-len(text.encode(errors="replace")) // 3)
        )
    ended = (
        None
        if reason in ("stop", "length")
        else f"the server ended the request with {redaction.line(reason)!r}"
    )
    return Completion(redaction.reply(text), redaction.line(reason), usage, seconds, ended)


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, Mapping):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    prompt, *others = usage.get("prompt_tokens"), cached, usage.get("completion_tokens")
    if not isinstance(prompt, int) or prompt <= 0:
        return None
    return Usage(
        prompt, *(count if isinstance(count, int) and count > 0 else 0 for count in others)
    )
