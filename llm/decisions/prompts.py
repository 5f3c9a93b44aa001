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

from jinja2 import DictLoader, Template, TemplateNotFound, nodes
from jinja2.meta import find_referenced_templates

from jaxecon.core.errors import UserError
from jaxecon.core.files import check_regular
from jaxecon.storage.paths import TEMPLATE_ENDING as ENDING
from llm.decisions.base import DecisionKind, Observation
from llm.decisions.template_language import TemplateEnvironment, joined, place_of, words_of
from llm.messages import Message, Role

FOLDER = Path(__file__).parent / "templates"
BLOCKS: tuple[Role, ...] = ("system", "user")
AGAIN = "again"  # the template of the complaint about an answer that cannot be used


class Prompts:
    """The words in which models are asked. All templates are read at once, when it is made.

    Args:
        folder: a user's templates, in place of the package's of the same names.

    Attributes:
        folder: The user's folder, None without one.
        own: The texts of the user's templates by name, sorted.

    Raises:
        UserError: the folder holds no template, or one cannot be read.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()
        self.own = {} if self.folder is None else _read_folder(self.folder)
        self._sources = _read_folder(FOLDER) | self.own
        texts = {name + ENDING: text for name, text in self._sources.items()}
        self.environment = TemplateEnvironment(DictLoader(texts))
        self.compiled = cache(self._compiled)
        self._rules = lru_cache(maxsize=1024)(self._render_rules)
        self.parsed = cache(self._parsed)
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
        compiled = self.compiled(template)
        if block not in compiled.blocks:
            raise UserError(f"llm.prompts: {self.file(template)}: has no block `{block}`")
        try:
            return joined("".join(compiled.blocks[block](compiled.new_context(dict(values)))))
        except Exception as error:
            raise self.fault(template, error) from error

    @property
    def names(self) -> list[str]:
        """The names of all templates and parts, sorted."""
        return sorted(self._sources)

    def source(self, template: str) -> str:
        """A template's text as it stands in its file."""
        return self._sources[template]

    def description(self, template: str) -> str:
        """What a template says, from the comment with which it begins; "" without one."""
        comment = re.match(r"\s*\{#(.*?)#\}", self.source(template), re.DOTALL)
        return "" if comment is None else " ".join(comment[1].split())

    def digest(self) -> str:
        """SHA-256 of the words of all templates, without comments."""
        return self._hash_of(self.names)

    def parts(self, template: str) -> tuple[str, ...]:
        """The names of the template and of all that it includes, sorted.

        Raises UserError where one of them is missing or cannot be parsed.
        """
        seen, ahead = set[str](), [template]
        while ahead:
            name = ahead.pop()
            if name not in seen:
                seen.add(name)
                included = find_referenced_templates(self.parsed(name))
                ahead += [part.removesuffix(ENDING) for part in included if part]
        return tuple(sorted(seen))

    def file(self, template: str) -> Path:
        """The file in which the template is, or would be."""
        ours = template in self._sources and template not in self.own
        return (FOLDER if self.folder is None or ours else self.folder) / (template + ENDING)

    def fault(self, template: str, error: Exception) -> Exception:
        """What to raise for an error in a template: one line where a user's words take part."""
        if self.folder is None:
            return error
        file, line = place_of(error)
        name = (file or template).removesuffix(ENDING)
        where = str(self.file(name))
        if template in self.own and name in self._sources and name not in self.own:
            where = f"{self.file(template)}, in the package's {name}"
        where += f", {line}" if line else ""
        reason = f"no template {error}" if isinstance(error, TemplateNotFound) else str(error)
        return UserError(f"llm.prompts: {where}: {' '.join(reason.split())}")

    def _compiled(self, template: str) -> Template:
        """A template, ready to be filled in. Raises UserError where a user's cannot be compiled."""
        try:
            return self.environment.get_template(template + ENDING)
        except Exception as error:
            raise self.fault(template, error) from error

    def _parsed(self, template: str) -> nodes.Template:
        """A template's syntax tree. Raises UserError where a user's has none."""
        try:
            if template not in self._sources:
                raise TemplateNotFound(template + ENDING)
            return self.environment.parse(self._sources[template], template + ENDING)
        except Exception as error:
            raise self.fault(template, error) from error

    def _render_rules(
        self, template: str, names: tuple[str, ...], rules: tuple[Any, ...]
    ) -> Message:
        values = dict(zip(names, rules, strict=True))
        return Message("system", self.text(template, "system", values))

    def _digest_of(self, template: str, attempt: int = 0) -> str:
        """SHA-256 of the words that a template can say; after the first attempt also of AGAIN's."""
        return self._hash_of([*self.parts(template), *[AGAIN] * bool(attempt)])

    def _hash_of(self, templates: Sequence[str]) -> str:
        hasher = hashlib.sha256()
        for name in templates:
            hasher.update(f"{name}{ENDING}\n{words_of(self.source(name))}\n".encode())
        return hasher.hexdigest()


def _read_folder(folder: Path) -> dict[str, str]:
    """The texts of a folder's templates by name, sorted."""
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise UserError(f"llm.prompts: {folder}: {what}")
    texts = {}
    for path in sorted(folder.glob(f"*{ENDING}")):
        try:
            check_regular(path)
            # Windows editors begin a file with a byte order mark, and end lines in their own way
            texts[path.stem] = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"llm.prompts: {path}: not a text file in UTF-8") from None
        except OSError as error:
            raise UserError(f"llm.prompts: {path}: {error.strerror}") from None
    if not texts:
        raise UserError(f"llm.prompts: {folder}: holds no template, such as labor{ENDING}")
    return texts
