"""What is wrong with templates, and how long their prompts are.

Names are looked up in the text of a template, whatever of it is reached; all else is found by
writing the prompts of `llm.decisions.samples`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from jinja2 import nodes
from jinja2.meta import find_undeclared_variables

from jaxecon.config.base import one_of
from jaxecon.core.errors import UserError
from jaxecon.storage.paths import TEMPLATE_ENDING as ENDING
from llm.decisions.base import DecisionKind
from llm.decisions.prompts import AGAIN, BLOCKS, Prompts
from llm.decisions.registry import KINDS
from llm.decisions.samples import in_order, samples
from llm.messages import Message, Role
from llm.prefix_cache import CPU_BLOCK, cachable_share

KIND_OF_TEMPLATE: dict[str, DecisionKind[Any, Any]] = {
    kind.template: kind for kind in chain.from_iterable(KINDS.values())
}
TEMPLATES = [*KIND_OF_TEMPLATE, AGAIN]  # those that make a prompt
MAX_CHARACTERS = 200_000  # of a prompt: some 50,000 tokens
AGAIN_VALUES = {"problem": "hours must be a number"}

Tokenizer = Callable[[Sequence[Message]], Sequence[int]]


@dataclass(frozen=True)
class PromptSize:
    """The length of a template's prompts.

    Attributes:
        template: Its name.
        rules: Tokens of the first sample's system message, with an empty user's.
        first: Tokens of its whole prompt.
        longest: Tokens of the longest prompt of the samples.
        shared: The share of tokens that a prefix cache could serve in the samples that are in the
            order of a run.
    """

    template: str
    rules: int
    first: int
    longest: int
    shared: float


_sound = set[str]()  # digests of words without a problem, which many runs of a sweep share


def check_templates(folder: str) -> None:
    """Raise UserError, one line, where a user's templates do not work."""
    prompts = Prompts(folder)
    if prompts.digest() in _sound:
        return
    lines = problems(prompts)
    if not lines:
        _sound.add(prompts.digest())
    else:
        more = f" ({len(lines) - 1} more: jaxecon prompts check {folder})" if lines[1:] else ""
        raise UserError(lines[0] + more)


def problems(prompts: Prompts) -> list[str]:
    """Everything that is wrong with the templates, one line each."""
    lines: list[str] = []
    for template in TEMPLATES:
        try:
            lines += (
                list(_wrong_structure(prompts, template))
                or list(_unknown_names(prompts, template))
                or list(_problems_of_texts(prompts, template))
            )
        except UserError as error:
            lines.append(str(error))
    return list(dict.fromkeys([*lines, *_unknown_files(prompts)]))


def example(prompts: Prompts, template: str) -> Sequence[Message]:
    """A prompt: of the samples that are in the order of a run the last one."""
    if template == AGAIN:
        return (Message("user", prompts.text(AGAIN, "user", AGAIN_VALUES)),)
    return prompts.messages(KIND_OF_TEMPLATE[template], in_order(template)[-1])


def example_values(template: str) -> dict[str, tuple[bool, Any]]:
    """What a template is handed, by name: whether the rules know it, and its value in `example`."""
    if template == AGAIN:
        return {name: (False, value) for name, value in AGAIN_VALUES.items()}
    kind = KIND_OF_TEMPLATE[template]
    values = kind.values(in_order(template)[-1])
    return {name: (name in kind.rules, value) for name, value in values.items()}


def unused_values(prompts: Prompts) -> dict[str, list[str]]:
    """By template, the values that the package's own template shows and this one does not.

    The templates must be sound.
    """
    package, unused = Prompts(), {}
    for template in TEMPLATES:
        own, ours = ({name for name, _, _ in _names(p, template)} for p in (prompts, package))
        unused[template] = sorted((ours - own) & example_values(template).keys())
    return {template: names for template, names in unused.items() if names}


def sizes(prompts: Prompts, tokenizer: Tokenizer) -> list[PromptSize]:
    """The length of each template's prompts. The templates must be sound."""
    rows = []
    for template, kind in KIND_OF_TEMPLATE.items():
        chats = [prompts.messages(kind, o) for o in samples(template)]
        tokens = [tokenizer(chat) for chat in chats]
        rows.append(
            PromptSize(
                template,
                # a chat without a user is one that some models refuse
                len(tokenizer((chats[0][0], Message("user", "")))),
                len(tokens[0]),
                max(map(len, tokens)),
                cachable_share(tokens[: len(in_order(template))], CPU_BLOCK),
            )
        )
    return rows


def _unknown_files(prompts: Prompts) -> Iterator[str]:
    """One line for each of the user's templates that neither the package nor a template names."""
    known, included = Prompts().names, set[str]()
    for name in prompts.names:
        with suppress(UserError):  # reported where the template is used
            included.update(set(prompts.parts(name)) - {name})
    for name in prompts.own:
        if name not in known and name not in included:
            yield (
                f"llm.prompts: {prompts.file(name)}: no template includes it, and the package has "
                f"none of that name; {one_of(known, name)}"
            )


def _wrong_structure(prompts: Prompts, template: str) -> Iterator[str]:
    """One line for each block that is missing, each passage that is in none, each wrong include.

    Raises UserError where the template or a part of it cannot be compiled.
    """
    for part in prompts.parts(template):
        prompts.compiled(part)
    tree = prompts.parsed(template)
    named = {block.name for block in tree.find_all(nodes.Block)}
    for needed in ("user",) if template == AGAIN else BLOCKS:
        if needed not in named:
            yield f"llm.prompts: {prompts.file(template)}: has no block `{needed}`"
    for node in tree.body:
        blank = isinstance(node, nodes.Output) and all(
            isinstance(piece, nodes.TemplateData) and not piece.data.strip() for piece in node.nodes
        )
        if not blank and not (isinstance(node, nodes.Block) and node.name in BLOCKS):
            yield (
                f"llm.prompts: {prompts.file(template)}, line {node.lineno}: is said nowhere; all "
                "words stand in the blocks `system` and `user`"
            )
    for part in prompts.parts(template):
        for node in prompts.parsed(part).find_all(
            (nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)
        ):
            if isinstance(node, nodes.Include) and isinstance(node.template, nodes.Const):
                continue
            yield (
                f"llm.prompts: {prompts.file(part)}, line {node.lineno}: a template may include "
                f'others by their names ({{% include "brackets{ENDING}" %}}), and nothing else'
            )


def _unknown_names(prompts: Prompts, template: str) -> Iterator[str]:
    """One line for each name that a block or its parts use and do not get."""
    values = example_values(template)
    known: dict[Role, list[str]] = {
        "system": sorted(name for name, (in_rules, _) in values.items() if in_rules),
        "user": sorted(values),
    }
    for name, block, place in _names(prompts, template):
        if name in known[block]:
            continue
        if name in values:
            reason = (
                f"{name!r} is known in the block `user` only: rules are the same for everyone of "
                "a cohort"
            )
        elif known[block]:
            reason = f"{name!r} is unknown; {one_of(known[block], name)}"
        else:
            reason = f"{name!r} is unknown; the block `{block}` of {template} knows no names"
        yield f"llm.prompts: {place}: {reason}"


def _names(prompts: Prompts, template: str) -> Iterator[tuple[str, Role, str]]:
    """Each name that a template and its parts use without setting it, its block, and where."""
    bodies = {block.name: block.body for block in prompts.parsed(template).find_all(nodes.Block)}
    for block in BLOCKS:
        for name, place in _names_in(prompts, (template,), bodies.get(block, []), set(), None):
            yield name, block, place


def _names_in(
    prompts: Prompts,
    path: tuple[str, ...],
    body: list[nodes.Node],
    above: set[str],
    included_at: str | None,
) -> Iterator[tuple[str, str]]:
    """Names that nodes and their parts use, with where.

    Args:
        prompts: the words.
        path: the template, and the parts through which the nodes were reached.
        body: the nodes.
        above: names that the templates before the last of the path set.
        included_at: the user's line that led into a part of the package's, whose names those are
            not to blame for.
    """
    whole = nodes.Template(body)
    whole.set_environment(prompts.environment)
    lines: dict[str, int] = {}
    given = set(above)  # to parts, by loops too
    for node in whole.find_all(nodes.Name):
        if node.ctx == "load":
            lines.setdefault(node.name, node.lineno)
        else:
            given.add(node.name)
    # of a name that is set under a condition, Jinja2 says that it may not be
    assigned = {
        name.name
        for assignment in whole.find_all((nodes.Assign, nodes.AssignBlock))
        for name in assignment.find_all(nodes.Name)
        if name.ctx == "store"
    }
    unset = find_undeclared_variables(whole) - assigned - above
    file = prompts.file(path[-1])
    for name in sorted(unset, key=lambda name: lines.get(name, 0)):
        yield name, included_at or f"{file}, line {lines.get(name, 1)}"
    for include in whole.find_all(nodes.Include):
        if isinstance(include.template, nodes.Const):
            part = str(include.template.value).removesuffix(ENDING)
            if part in path:
                raise UserError(f"llm.prompts: {file}, line {include.lineno}: includes itself")
            by_user = path[-1] in prompts.own and part not in prompts.own
            at = f"{file}, line {include.lineno}, includes {part}" if by_user else included_at
            body = prompts.parsed(part).body
            yield from _names_in(prompts, (*path, part), body, given, at)


def _problems_of_texts(prompts: Prompts, template: str) -> Iterator[str]:
    """The first prompt that cannot be written or does not say which answer is asked for."""
    if template == AGAIN:
        prompts.text(AGAIN, "user", AGAIN_VALUES)
        return
    kind = KIND_OF_TEMPLATE[template]
    for observation in samples(template):
        chat = " ".join(message.content for message in prompts.messages(kind, observation))
        asked = [f'"{field}"' for field in kind.schema(observation)["required"]]
        missing = [word for word in ["JSON", *asked] if word not in chat]
        if len(chat) > MAX_CHARACTERS:
            yield (
                f"llm.prompts: {prompts.file(template)}: makes a prompt of {len(chat):,} "
                f"characters; at most {MAX_CHARACTERS:,}"
            )
            return
        if missing:
            style = " with llm.style=cot" if '"reasoning"' in missing else ""
            yield (
                f"llm.prompts: {prompts.file(template)}: does not say to answer{style} with JSON "
                f"that holds {', '.join(asked)} ({', '.join(missing)}: missing)"
            )
            return
