"""What a model thinks aloud before its answer, in the markers of those that do."""

import re

from llm.decisions.base import Unusable

_NAMES = (
    r"(?:[\w.-]+:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?(?:_process)?|reflection|analysis"
    r"|scratchpad|cot|chain[_-]of[_-]thought|(?:inner|internal)_(?:monologue|thoughts?))"
)
_OPEN, _CLOSE = r"(?:<|&lt;)\s*", r"\s*(?:>|&gt;)"
_END = re.compile(
    rf"{_OPEN}/\s*{_NAMES}{_CLOSE}"
    r"|\[/\s*(?:think(?:ing)?|reasoning)\s*\]"
    r"|\[BEGIN FINAL RESPONSE\]"
    r"|◁\s*/\s*think\s*▷"
    r"|<\|\s*(?:/\s*|end_(?:of_)?)(?:think(?:ing)?|thought|reasoning)\s*\|>"
    r"|<\|?(?:think(?:ing)?|thought|reasoning)_end\|?>"
    r"|<channel\|>|<unused95>"  # Gemma
    # Harmony: the answer comes on a channel of its own
    r"|<\|channel\|>\s*final\b[^<]{0,100}(?:<\|constrain\|>[^<]{0,100})?<\|message\|>",
    re.IGNORECASE,
)
_BEGIN = re.compile(
    rf"{_OPEN}{_NAMES}(?:\s[^<>/]{{0,100}})?{_CLOSE}"
    r"|\[\s*(?:think(?:ing)?|reasoning)\s*\]"
    r"|◁\s*think\s*▷"
    r"|<\|\s*(?:(?:start|begin)_(?:of_)?)?(?:think(?:ing)?|thought|reasoning)\s*\|>"
    r"|<\|?(?:think(?:ing)?|thought|reasoning)_start\|?>"
    r"|<\|channel>\s*thought\b|<unused94>\s*thought\b"
    r"|<\|channel\|>\s*(?:analysis|commentary)\b",
    re.IGNORECASE,
)
_FOLDED = re.compile(r"<details\s[^<>]{0,20}type=.?reasoning\b", re.IGNORECASE)
_NO_END = "answer after the thought, which had no end"
_FOLD_END = "</details>"
# Harmony where the server has taken the marks out.
_UNMARKED = re.compile(r"analysis.*assistant\s?final", re.DOTALL)


def without_thoughts(text: str) -> str:
    """The reply after the last thought.

    Raises:
        Unusable: the reply ends before its thought does.
    """
    end = 0
    for match in _END.finditer(text):
        end = match.end()
    if folded := _FOLDED.search(text, end):
        fold_end = text.rfind(_FOLD_END, folded.end())
        if fold_end < 0:
            raise Unusable(_NO_END)
        end = fold_end + len(_FOLD_END)
    answer = text[end:]
    if unmarked := _UNMARKED.match(answer):
        answer = answer[unmarked.end() :]
    if _BEGIN.search(answer):
        raise Unusable(_NO_END)
    return answer
