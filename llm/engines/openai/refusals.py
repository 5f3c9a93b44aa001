"""What a server's words mean when it refuses a request."""

import re
from typing import Literal

from llm.engines.openai.failure import RequestFailure

# How servers refuse what they do not know; 404: a router without a provider that takes it all.
REFUSALS = frozenset({400, 404, 415, 422, 500, 501})

StructuredOutput = Literal["json_schema", "json_object", "plain"]

_NOT_TAKEN = (
    r"unsupported|not supported|not support|instead|unrecogni[sz]ed|unknown|unexpected|"
    r"not permitted|not allowed|forbidden|cannot find field|invalid(?!.?(request|argument))"
)
_OUT_OF_RANGE = (
    r"must be|range|at most|less than|greater than|only the default|does not support|cannot both|"
    r"deprecated|only be set|fixed at|not applicable|not valid"
)
_SCHEMA = (
    r"response.?format|response.?schema|json.?schema|json.?object|json.?mode|structured.?output|"
    r"guided|grammar"
)
_SYSTEM = (
    r"system.{0,30}(role|message|prompt|instruction).{0,80}(not|n't|unsupported|only|invalid)|"
    r"(not|n't|unsupported|invalid|unknown).{0,60}system.{0,30}(role|message|prompt|instruction)|"
    r"(invalid|unknown|unsupported|unexpected).{0,30}role.{0,30}system|"
    r"only user|roles? must|must alternate|developer instruction|must be (a |from )?.{0,8}user"
)
_STREAM = (
    r"\bstream.{0,80}(must|require|only|need|true|mandatory)|"
    r"(must|require|only|need).{0,80}\bstream"
)
# Only what is about the prompt: requests, queues and addresses may be too long as well.
_PROMPT = (
    r"\b(prompts?|inputs?|messages?|conversations?|contexts?|histor(y|ies)|sequences?|texts?)\b"
)
_TOO_LONG = (
    r"context.{0,10}(length|window|size|limit)|maximum model length|exceed_context|"
    r"max_new_tokens\W{0,3}must be <=|too many (input |prompt )?tokens(?! (per|a) )|"
    rf"input token count|{_PROMPT}\W{{0,3}}((is|are|was|were|length|far|much|way) ){{0,3}}too long|"
    r"(?<!took )(?<!taking )(?<!takes )too long\b.{0,40}\btokens|"
    rf"{_PROMPT}.{{0,40}}longer than the (model|maximum|context|limit)|"
    r"must have less than [\d,.]+ tokens|"
    r"(reduce|shorten) (the length of )?(your|the) (messages?|prompt|input)\b(?! (rate|freq))|"
    r"use a shorter (prompt|input|message)|context overflow|n_ctx exceeded|max_seq_len|"
    rf"{_PROMPT}(?!['\"])[^.]{{0,40}}\b(length|tokens?)\b[^.]{{0,40}}"
    r"(exceeds?|greater than|longer than|above)|"
    rf"{_PROMPT}(?!['\"])[^.]{{0,20}}exceeds? [^.]{{0,20}}(length|context|[0-9]+ tokens)|"
    rf"{_PROMPT}[^.]{{0,10}} is too large|(content|request) exceeds [0-9,.]+ tokens|"
    r"max(imum)? (prompt|input|sequence|window) (length|size)|model token limit|"
    r"token limit exceeded|range of input length|input_tokens must be <=|"
    r"max_tokens must be at least 1, got -"
)
# A limit on the answer, whatever the prompt.
_ANSWER_LIMIT = (
    r"max_(output_|completion_)?tokens\b[^.]{0,60}(below minimum|greater than|at least|too (large|"
    r"small)|should be|must be|at most|less than|out of range)"
)
# With thousands set apart, or as "128k".
_NUMBER = (
    r"(?<![0-9])([0-9]{1,12}(?:(?:[,._'\u00a0\u202f]| (?=[0-9]{3}(?![0-9])))[0-9]{1,12}){0,4})"
    r"(?:[ -]?(k|m|thousand|million)(?![a-z0-9_]))?(?![kmgb0-9_])"
)
_UNITS = {None: 1, "k": 1_000, "thousand": 1_000, "m": 10**6, "million": 10**6}
_MOST_TOKENS = 10**9
# Where the words name how many tokens the server takes, the surest first.
_LIMITS = tuple(
    re.compile(pattern.replace("N", _NUMBER))
    for pattern in (
        r"'n_ctx': N",
        r"tokens? > N",
        r"[0-9km] > N",
        r"maximum number of tokens allowed \(N\)",
        r"N maximum context length",
        r"(?:context.{0,10}(?:length|window|size|limit)|maximum model length)"
        r"(?: is| of| of only|:|=)? ?\(?N",
        r"must be <= N",
        r"must have less than N",
        r"max(?:imum)? (?:prompt|input|sequence|allowed|window) (?:length|size)"
        r"(?: is| of|:)? ?\(?N",
        r"tokens? limit:?(?: is| of)? ?\(?N",
        r"input length should be \[\d{1,9}, ?N\]",
        r"max_seq_len:? ?N",
        r"exceeds N tokens",
        r"model's context \(N",
    )
)
_FILTERED = r"content.?filter|content management|content policy|moderation|was flagged"


def structured_output_after(
    used: StructuredOutput, failure: RequestFailure
) -> StructuredOutput | None:
    """The next weaker form, where the words are about the form; None otherwise."""
    if used == "plain" or not re.search(_SCHEMA, failure.complaint):
        return None
    return "json_object" if used == "json_schema" else "plain"


def refuses_field(name: str, failure: RequestFailure) -> bool:
    """Whether the words are about a field of the request that the server does not take."""
    return failure.parameter == name or bool(
        re.search(rf"\b{name}\b", failure.complaint) and re.search(_NOT_TAKEN, failure.complaint)
    )


def refuses_seed(failure: RequestFailure) -> bool:
    """Whether the words are about the seed."""
    return bool(re.search(r"\bseed\b", failure.complaint))


def refuses_system(failure: RequestFailure) -> bool:
    """Whether the words are about a message of the system."""
    return bool(re.search(_SYSTEM, failure.complaint))


def wants_stream(failure: RequestFailure) -> bool:
    """Whether the words ask for an answer as a stream."""
    return bool(re.search(_STREAM, failure.complaint))


def longest_taken(failure: RequestFailure) -> int | None:
    """The tokens that the server takes, where the request had more; 0 where it names no number.

    None where the failure has another reason.
    """
    if failure.status == 413:
        return 0
    if failure.status not in (400, 422, 500) or not re.search(_TOO_LONG, failure.complaint):
        return None
    found = next((m for limit in _LIMITS if (m := limit.search(failure.complaint))), None)
    return _number(found[1], found[2]) if found else 0


def _number(digits: str, unit: str | None) -> int:
    """A number of tokens; 0 where it is not clear, or more than any server takes.

    "128k" is 128,000: if 131,072 was meant, less than that fits too.
    """
    first, *others = re.split("[^0-9]", digits)
    if not others or (unit is None and len(first) <= 3 and all(len(o) == 3 for o in others)):
        tokens = float(first + "".join(others)) * _UNITS[unit]
    elif len(others) == 1 and re.search("[.,]", digits):
        tokens = float(f"{first}.{others[0]}") * _UNITS[unit]
    else:
        return 0
    return round(tokens) if tokens <= _MOST_TOKENS else 0


def is_filtered(failure: RequestFailure) -> bool:
    """Whether the words of this one request were not liked."""
    return failure.status in (400, 403) and bool(re.search(_FILTERED, failure.complaint))


def is_bad_generation(failure: RequestFailure) -> bool:
    """Whether the model, not the server, failed: what it wrote is not as the schema says."""
    return failure.status == 400 and bool(
        re.search("json_validate_failed|failed_generation", failure.complaint)
    )


def names_what_is_missing(failure: RequestFailure) -> bool:
    """Whether a 404 says that the model or the address does not exist."""
    return bool(
        re.search(r"not.?found|no such|not exist|unknown model|unknown url", failure.complaint)
    )


def sampling_setting(failure: RequestFailure) -> str | None:
    """The setting of sampling that the server does not take as it is: it would change results."""
    if failure.status not in (400, 422) or longest_taken(failure) is not None:
        return None
    for name in ("temperature", "top_p"):
        mentioned = re.search(rf"\b{name}\b", failure.complaint)
        if refuses_field(name, failure) or (
            mentioned and re.search(_OUT_OF_RANGE, failure.complaint)
        ):
            return name
    return None


def refuses_answer_limit(failure: RequestFailure) -> bool:
    """Whether the words are about the number of tokens that an answer may have."""
    return (
        failure.status in (400, 422)
        and longest_taken(failure) is None
        and bool(re.search(_ANSWER_LIMIT, failure.complaint))
    )
