"""Reads a completion from a server's reply."""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from llm.engines.base import estimated_usage
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.redaction import Redaction, plain_text
from llm.engines.openai.reply_body import first_choice
from llm.messages import Completion, Request, Usage

# What servers say where there is no answer, and where it was cut, in lower case.
_NO_ANSWER = frozenset({"content_filter", "error"})
_CUT = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
_TEXT_PARTS = ("text", "output_text")
_THINKING = re.compile(
    r"(?:\w+_)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflect(?:ion)?|scratchpad)", re.IGNORECASE
)
# By the fields of their replies.
_OTHER_INTERFACES = {
    "Anthropic's interface": {"type", "role", "content"},
    "Gemini's own interface": {"candidates"},
    "Ollama's own interface": {"model", "done"},
    "OpenAI's interface of responses": {"object", "output"},
}
_THOUGHTS = ("reasoning_content", "reasoning")
# Tokens that a count may have beyond what was sent and said: templates and tools of the server, and
# thoughts that it does not show.
_HIDDEN_PROMPT, _HIDDEN_COMPLETION = 4_096, 131_072


def completion_of(
    reply: Any,
    request: Request,
    seconds: float,
    redaction: Redaction,
    note: Callable[[str], None],
) -> Completion:
    """The completion in the JSON of a reply.

    Args:
        reply: what the server sent.
        request: what it answers.
        seconds: from sending to the reply.
        redaction: takes the key out.
        note: told what is wrong with the server's counts of tokens.

    Raises:
        RequestFailure: the reply is not what OpenAI's interface promises.
    """
    if isinstance(reply, list) and len(reply) == 1:
        reply = reply[0]
    try:
        choice = first_choice(reply["choices"]) or reply["choices"][0]
        text = _text(_message(choice))
        reason = choice.get("finish_reason")
        error = None if text.strip() else choice.get("error")
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError):
        error = reply.get("error") if isinstance(reply, Mapping) else None
        if not error:
            raise RequestFailure(_without_message(reply), status=502) from None
    if error:
        words = f"an error in place of an answer: {redaction.line(error)}"
        raise RequestFailure(words, status=502)
    said = plain_text("stop" if reason is None or reason == "" else reason)
    ending = "length" if said.strip().lower() in _CUT else redaction.line(said)
    ended = None
    if said.strip().lower() in _NO_ANSWER:
        ended = f"the server ended the request with {ending!r}"
    usage = _usage(reply.get("usage"), request, text, note)
    return Completion(redaction.reply(text), ending, usage, seconds, ended)


def _without_message(reply: Any) -> str:
    """What is wrong with a reply that holds no message."""
    if isinstance(reply, Mapping):
        for name, fields in _OTHER_INTERFACES.items():
            if fields <= reply.keys():
                return (
                    f"the server answers by {name}, not by OpenAI's chat completions:"
                    " base_url needs another address of it, such as one that ends in /v1"
                )
    return "the server's reply has no message"


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message of a choice. Raises TypeError where there is none."""
    for name in ("message", "delta", "text"):
        message = choice.get(name)
        if isinstance(message, Mapping):
            return message
        if isinstance(message, str):
            return {"content": message}
    raise TypeError


def _text(message: Mapping[str, Any]) -> str:
    """What the model wrote, wherever the server put it."""
    # a call may follow words that announce it, or be another answer
    said = "\n".join(
        text for text in (_content(message.get("content")), _arguments(message)) if text.strip()
    )
    places = (said, _content(message.get("parsed")), _content(message.get("refusal")))
    text = next((text for text in places if text.strip()), "")
    if text:
        return text
    thought = next((t for name in _THOUGHTS if (t := _content(message.get(name)).strip())), "")
    # A server that expects thoughts takes an answer without any for one. Anything else stays a
    # thought, which decisions do not read: it may hold drafts.
    is_answer = re.fullmatch(r"(?:```\w*\s*)?\{.*\}(?:\s*```)?", thought, re.DOTALL)
    return thought if is_answer or not thought else f"<think>\n{thought}"


def _content(content: Any) -> str:
    """The text of a message's content: a text, its parts, or an answer that is JSON already."""
    if isinstance(content, str):
        return content
    if content is None or content in ([], {}) or isinstance(content, bool):  # no answer
        return ""
    if isinstance(content, Mapping) and content.get("type") in _TEXT_PARTS and "text" in content:
        return _part(content)
    if isinstance(content, list) and any(isinstance(part, Mapping) for part in content):
        return "".join(_part(part) for part in content)
    return json.dumps(content, ensure_ascii=False)


def _part(part: Any) -> str:
    """The text of a part; "" for a thought or an image."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or part.get("thought") is True:
        return ""
    kind = part.get("type") or "text"
    if kind == "tool_use":
        return _content(part.get("input"))
    if kind in ("json", "output_json"):
        return _content(part.get("json"))
    text = part.get("text") if kind in _TEXT_PARTS else None
    text = text.get("value") if isinstance(text, Mapping) else text
    return text if isinstance(text, str) else ""


def _arguments(message: Mapping[str, Any]) -> str:
    """What the model called functions with, one call a line."""
    calls = message.get("tool_calls") or message.get("function_call")
    calls = calls if isinstance(calls, list) else [calls]
    functions = [call.get("function") or call for call in calls if isinstance(call, Mapping)]
    functions = [function for function in functions if isinstance(function, Mapping)]
    # beside another call, one to a tool for thinking holds drafts
    said = [f for f in functions if not _THINKING.fullmatch(str(f.get("name")))] or functions
    return "\n".join(
        _content(
            next((f[name] for name in ("arguments", "input", "parameters") if name in f), None)
        )
        for f in said
    )


def _usage(usage: Any, request: Request, text: str, note: Callable[[str], None]) -> Usage:
    """The tokens of a completion: the server's counts where they are possible, else estimates."""
    sent = sum(len(message.content.encode(errors="replace")) + 64 for message in request.messages)
    sent += len(json.dumps(request.schema)) if request.schema else 0
    said = len(text.encode(errors="replace"))
    estimate = estimated_usage(request, text)
    if not isinstance(usage, Mapping):
        return estimate
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    most = max(request.sampling.max_tokens, said) + _HIDDEN_COMPLETION
    counts = (
        _count(usage.get("prompt_tokens"), sent + _HIDDEN_PROMPT),
        _count(cached, sent + _HIDDEN_PROMPT),
        _count(usage.get("completion_tokens"), most),
    )
    prompt, cached, completion = counts
    if None in counts or (cached or 0) > (prompt or 0):
        note("its counts of tokens are impossible in places; estimates take their place")
    return Usage(
        prompt or estimate.prompt_tokens,
        cached if cached and prompt and cached <= prompt else 0,
        estimate.completion_tokens
        if completion is None or not (prompt or completion)
        else completion,
    )


def _count(count: Any, most: int) -> int | None:
    """A count of tokens; 0 where there is none, None where it cannot be one."""
    if count is None:
        return 0
    if isinstance(count, str) and re.fullmatch(r"\d{1,12}", count, re.ASCII):
        count = int(count)
    if isinstance(count, bool) or not isinstance(count, int | float):
        return None
    if isinstance(count, float) and not (math.isfinite(count) and count.is_integer()):
        return None
    return int(count) if 0 <= count <= most else None
