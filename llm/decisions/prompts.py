"""Prompts from templates: the words are in files, which need no programming to read or to change.

`templates/KIND.jinja` has two blocks: `system`, the rules, which are the same for all agents of a
cohort and see no other values, and `user`, what one agent knows. Files with other names are parts
that several templates include. `template_language` says how they are written.

Prompts are laid out for the engine's prefix cache, which reuses common beginnings: rules and this
year's schedule | what is constant for one agent | its history, which grows at its end | what is new
on this day.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jinja2 import (
    ChoiceLoader,
    FileSystemLoader,
    Template,
    TemplateNotFound,
    TemplateSyntaxError,
    nodes,
)
from jinja2.meta import find_referenced_templates

from jaxecon.core.errors import UserError
from llm.decisions.base import DecisionKind, Observation
from llm.decisions.template_language import (
    TemplateEnvironment,
    joined,
    place_of,
    without_comments,
)
from llm.messages import Message, Role

FOLDER = Path(__file__).parent / "templates"
BLOCKS: tuple[Role, ...] = ("system", "user")
AGAIN = "again"  # the template of the complaint about an answer that cannot be used
ENDING = ".jinja"


def template_names() -> list[str]:
    """The names of the package's templates and parts, without their ending."""
    return sorted(path.stem for path in FOLDER.glob(f"*{ENDING}"))


class Prompts:
    """The words in which models are asked.

    Args:
        folder: a user's templates, in place of the package's of the same names.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        places = [FOLDER] if self.folder is None else [self.folder, FOLDER]
        self._loader = ChoiceLoader([FileSystemLoader(place) for place in places])
        self.environment = TemplateEnvironment(self._loader)
        self._template = cache(self._read)
        self._rules = lru_cache(maxsize=1024)(self._render_rules)
        self.digest_of = cache(self._digest_of)

    def messages(
        self, kind: DecisionKind[Observation, Any], observation: Observation
    ) -> tuple[Message, ...]:
        """The chat that asks for a decision: the rules, and what the agent knows.

        Raises:
            UserError: a user's template does not work.
        """
        values = kind.values(observation)
        rules = tuple(values[name] for name in kind.rules)
        user = self.text(kind.template, "user", values)
        return self._rules(kind.template, kind.rules, rules), Message("user", user)

    def try_again(self, chat: Sequence[Message], reply: str, problem: str) -> tuple[Message, ...]:
        """The chat, continued after a reply that could not be used.

        The reply's white space is shortened: JSON allows any number of line breaks, and a small
        model that got stuck in them would go on with them.
        """
        return (
            *chat,
            Message("assistant", " ".join(reply.split())[:300]),
            Message("user", self.text(AGAIN, "user", {"problem": problem})),
        )

    def text(self, template: str, block: Role, values: Mapping[str, Any]) -> str:
        """One block of a template. Raises UserError where a user's template does not work."""
        found = self._template(template)
        if block not in found.blocks:
            raise UserError(f"llm.prompts: {self.file(template)}: has no block `{block}`")
        try:
            return joined("".join(found.blocks[block](found.new_context(dict(values)))))
        except Exception as error:
            raise self.fault(template, error) from error

    def digest(self) -> str:
        """SHA-256 of the words of all templates, without comments."""
        return self._hash_of(template_names())

    def parts(self, template: str) -> tuple[str, ...]:
        """The names of the template and of all that it includes, sorted."""
        found, ahead = set[str](), [template]
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                named = find_referenced_templates(self.parsed(name))
                ahead += [part.removesuffix(ENDING) for part in named if part]
        return tuple(sorted(found))

    def parsed(self, template: str) -> nodes.Template:
        """A template's syntax tree. Raises UserError where a user's cannot be compiled."""
        try:
            source = self.source(template)
            self.environment.compile(source, template + ENDING, raw=True)
            return self.environment.parse(source, template + ENDING)
        except TemplateSyntaxError as error:
            raise self.fault(template, error) from error

    def overridden(self) -> list[str]:
        """The names of the templates in the user's folder, sorted."""
        own = () if self.folder is None else self.folder.glob(f"*{ENDING}")
        return sorted(path.stem for path in own)

    def source(self, template: str) -> str:
        """A template's text as it stands in its file. Raises UserError where it cannot be read."""
        try:
            return self._loader.get_source(self.environment, template + ENDING)[0]
        except (OSError, ValueError, TemplateNotFound) as error:
            raise self.fault(template, error) from error

    def description(self, template: str) -> str:
        """What a template says, from the comment with which it begins; "" without one."""
        comment = re.match(r"\s*\{#(.*?)#\}", self.source(template), re.DOTALL)
        return "" if comment is None else " ".join(comment[1].split())

    def file(self, template: str) -> Path:
        """The file in which the template is."""
        ours = FOLDER / (template + ENDING)
        own = ours if self.folder is None else self.folder / (template + ENDING)
        return own if own.exists() or not ours.exists() else ours

    def fault(self, template: str, error: Exception) -> Exception:
        """What to raise for an error in a template: one line for a user's, itself for ours."""
        name, line = place_of(error)
        file = self.file((name or template).removesuffix(ENDING))
        if file.parent == FOLDER:
            return error
        where = f"{file}, {line}" if line else str(file)
        reason = "cannot be found" if isinstance(error, TemplateNotFound) else str(error)
        return UserError(f"llm.prompts: {where}: {reason}")

    def _read(self, template: str) -> Template:
        try:
            return self.environment.get_template(template + ENDING)
        except Exception as error:
            raise self.fault(template, error) from error

    def _render_rules(
        self, template: str, names: tuple[str, ...], rules: tuple[Any, ...]
    ) -> Message:
        values = dict(zip(names, rules, strict=True))
        return Message("system", self.text(template, "system", values))

    def _digest_of(self, template: str) -> str:
        """SHA-256 of the words that one template can say."""
        return self._hash_of([*self.parts(template), AGAIN])

    def _hash_of(self, templates: Sequence[str]) -> str:
        found = hashlib.sha256()
        for name in templates:
            words = without_comments(self.source(name))
            found.update(f"{name}{ENDING}\n{words}\n".encode())
        return found.hexdigest()
