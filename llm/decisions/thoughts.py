"""What a model thinks aloud before its answer, in the markers of those that do."""

import re

from llm.decisions.base import Unusable

_NAMES = r"(?:[\w.-]+:)?(?:think(?:ing)?|thoughts?|reasoning|reflection|analysis|scratchpad)"
_END = re.compile(
    rf"</\s*{_NAMES}\s*>"
    r"|\[/\s*think(?:ing)?\s*\]"
    r"|◁\s*/\s*think\s*▷"
    r"|<\|\s*(?:/\s*|end_(?:of_)?)(?:think(?:ing)?|thought|reasoning)\s*\|>"
    # Harmony: the answer comes on a channel of its own
    r"|<\|channel\|>\s*final\b[^<]{0,100}(?:<\|constrain\|>[^<]{0,100})?<\|message\|>",
    re.IGNORECASE,
)
_BEGIN = re.compile(
    rf"<\s*{_NAMES}\s*>"
    r"|\[\s*think(?:ing)?\s*\]"
    r"|◁\s*think\s*▷"
    r"|<\|\s*(?:(?:start|begin)_(?:of_)?)?(?:think(?:ing)?|thought|reasoning)\s*\|>"
    r"|<\|channel\|>\s*(?:analysis|commentary)\b",
    re.IGNORECASE,
)
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
    answer = text[end:]
    if unmarked := _UNMARKED.match(answer):
        answer = answer[unmarked.end() :]
    if _BEGIN.search(answer):
        raise Unusable("answer after the thought, which had no end")
    return answer
