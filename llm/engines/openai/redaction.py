"""Keeps the key out of transcripts, messages and logs."""

import re
from dataclasses import dataclass

_MIN_KEY = 16  # characters; a shorter "key" of a local server may be an ordinary word of a reply


@dataclass(frozen=True)
class Redaction:
    """Takes the key out of what a server says. key: "" where there is none."""

    key: str

    def reply(self, text: str) -> str:
        """The reply as the transcript can store it.

        Unpaired surrogates are replaced, and so is the key, should a server echo it.
        """
        text = text.encode(errors="replace").decode()
        return text.replace(self.key, "[key]") if len(self.key) >= _MIN_KEY else text

    def line(self, words: object) -> str:
        """One short line without the key or anything that looks like one."""
        text = str(words).encode(errors="replace").decode()
        if self.key:
            text = text.replace(self.key, "[key]")
        text = re.sub(r"(?i)\b(bearer|basic)\s+\S+", r"\1 [key]", text)
        text = re.sub(r"\bsk-[\w*-]{4,}", "[key]", text)
        return " ".join(text.split())[:300] or type(words).__name__
