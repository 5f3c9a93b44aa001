"""A worker's persona, written out in the model's own words."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jaxecon.core.text import TOKEN_BYTES
from llm.decisions.base import Parsed
from llm.decisions.replies import line_of_text, object_schema, only_field

MAX_PERSONA = 600  # characters


@dataclass(frozen=True)
class PersonaObservation:
    """A person whom the model is to describe. facts: the text of the template."""

    cohort: str
    agent: int
    facts: str
    year: int = 0
    day: int = 0


@lru_cache
def persona_schema() -> dict[str, Any]:
    """The schema of a text of bounded length."""
    return object_schema(persona={"type": "string", "minLength": 1, "maxLength": MAX_PERSONA})


def parse_persona(text: str) -> Parsed[str]:
    """One line of text from {"persona": "..."}, cut at MAX_PERSONA characters. Raises Unusable."""
    answer, repaired = only_field(text, "persona")
    line = line_of_text(answer, "persona", MAX_PERSONA)
    return Parsed(line, repaired or line != answer)


class DescribePersona:
    """A persona in the model's own words. Falls back on the template's."""

    name = template = "persona"
    rules: tuple[str, ...] = ()

    def values(self, observation: PersonaObservation) -> dict[str, Any]:
        return vars(observation)

    def schema(self, observation: PersonaObservation) -> dict[str, Any]:
        return persona_schema()

    def parse(self, text: str, observation: PersonaObservation) -> Parsed[str]:
        return parse_persona(text)

    def fallback(self, observation: PersonaObservation) -> str:
        return observation.facts

    def tokens(self, observation: PersonaObservation) -> int:
        return 16 + MAX_PERSONA // TOKEN_BYTES

    def shorter(self, observation: PersonaObservation) -> None:
        return None
