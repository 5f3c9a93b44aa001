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
from llm.decisions.base import DecisionKind
from llm.decisions.prompts import AGAIN, BLOCKS, ENDING, Prompts, template_names
from llm.decisions.registry import KINDS
from llm.decisions.samples import in_order, samples
from llm.messages import Message, Role
from llm.prefix_cache import CPU_BLOCK, cachable_share

KIND_OF_TEMPLATE: dict[str, DecisionKind[Any, Any]] = {
    kind.template: kind for kind in chain.from_iterable(KINDS.values())
}
AGAIN_VALUES = {"problem": "hours must be a number"}

Tokenizer = Callable[[Sequence[Message]], Sequence[int]]


@dataclass(frozen=True)
class PromptSize:
    """The length of a template's prompts.

    Attributes:
        template: Its name.
        rules: Tokens of the system message of the first sample.
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


def check_templates(folder: str) -> None:
    """Raise UserError, one line, where a user's templates do not work."""
    found = problems(Prompts(folder))
    if found:
        more = f" ({len(found) - 1} more: jaxecon prompts check {folder})" if found[1:] else ""
        raise UserError(found[0] + more)


def problems(prompts: Prompts) -> list[str]:
    """Everything that is wrong with the templates, one line each."""
    found = _problems_of_folder(prompts)
    if found:
        return found
    for kind in KIND_OF_TEMPLATE.values():
        try:
            found += list(_unknown_names(prompts, kind)) or list(_problems_of_texts(prompts, kind))
        except UserError as error:
            found.append(str(error))
    try:
        prompts.text(AGAIN, "user", AGAIN_VALUES)
    except UserError as error:
        found.append(str(error))
    return list(dict.fromkeys([*found, *_unknown_files(prompts)]))


def example(prompts: Prompts, template: str) -> Sequence[Message]:
    """The last prompt of those samples that are in the order of a run."""
    return prompts.messages(KIND_OF_TEMPLATE[template], in_order(template)[-1])


def example_values(template: str) -> dict[str, tuple[bool, Any]]:
    """What a template is handed, by name: whether the rules know it, and its value in `example`."""
    kind = KIND_OF_TEMPLATE[template]
    values = kind.values(in_order(template)[-1])
    return {name: (name in kind.rules, value) for name, value in values.items()}


def unused_values(prompts: Prompts) -> dict[str, list[str]]:
    """By template, the values that the package's own template shows and this one does not.

    The templates must be sound.
    """
    package, found = Prompts(), {}
    for template in KIND_OF_TEMPLATE:
        own, ours = ({name for name, _, _ in _names(p, template)} for p in (prompts, package))
        values = KIND_OF_TEMPLATE[template].values(samples(template)[0])
        found[template] = sorted((ours - own) & values.keys())
    return {template: names for template, names in found.items() if names}


def sizes(prompts: Prompts, tokenizer: Tokenizer) -> list[PromptSize]:
    """The length of each template's prompts. The templates must be sound."""
    found = []
    for template, kind in KIND_OF_TEMPLATE.items():
        first = prompts.messages(kind, samples(template)[0])
        lengths = [len(tokenizer(prompts.messages(kind, o))) for o in samples(template)]
        asked = [tokenizer(prompts.messages(kind, o)) for o in in_order(template)]
        found.append(
            PromptSize(
                *(template, len(tokenizer(first[:1])), lengths[0], max(lengths)),
                shared=cachable_share(asked, CPU_BLOCK),
            )
        )
    return found


def _problems_of_folder(prompts: Prompts) -> list[str]:
    if prompts.folder is None or prompts.overridden():
        return []
    if not prompts.folder.is_dir():
        return [f"llm.prompts: {prompts.folder}: no such folder"]
    return [f"llm.prompts: {prompts.folder}: holds no template, such as labor{ENDING}"]


def _unknown_files(prompts: Prompts) -> Iterator[str]:
    """One line for each of the user's templates that neither the package nor a template names."""
    known, included = template_names(), set[str]()
    for name in {*known, *prompts.overridden()}:
        with suppress(UserError):  # reported where the template is used
            included.update(set(prompts.parts(name)) - {name})
    for name in prompts.overridden():
        if name not in known and name not in included:
            yield f"llm.prompts: {prompts.file(name)}: no such template; {one_of(known, name)}"


def _unknown_names(prompts: Prompts, kind: DecisionKind[Any, Any]) -> Iterator[str]:
    """One line for each name that a block or its parts use and do not get."""
    values = set(kind.values(samples(kind.template)[0]))
    known: dict[Role, set[str]] = {"system": set(kind.rules), "user": values}
    for name, block, place in _names(prompts, kind.template):
        if name in known[block]:
            continue
        if name in values:
            reason = (
                f"{name!r} is known in the block `user` only: rules are the same for everyone of "
                "a cohort"
            )
        else:
            reason = f"{name!r} is unknown; {one_of(sorted(known[block]), name)}"
        yield f"llm.prompts: {place}: {reason}"


def _names(prompts: Prompts, template: str) -> Iterator[tuple[str, Role, str]]:
    """Each name that a template and its parts use without setting it, its block, and where."""
    bodies = {block.name: block.body for block in prompts.parsed(template).find_all(nodes.Block)}
    for block in BLOCKS:
        for name, place in _names_in(prompts, template, bodies.get(block, []), set()):
            yield name, block, place


def _names_in(
    prompts: Prompts, template: str, body: list[nodes.Node], above: set[str]
) -> Iterator[tuple[str, str]]:
    """Names that nodes and their parts use, with where. above: names that includers set."""
    whole = nodes.Template(body)
    whole.set_environment(prompts.environment)
    lines: dict[str, int] = {}
    within = set(above)
    for node in whole.find_all(nodes.Name):
        if node.ctx == "load":
            lines.setdefault(node.name, node.lineno)
        else:
            within.add(node.name)
    unset = find_undeclared_variables(whole) - within
    for name in sorted(unset, key=lambda name: lines.get(name, 0)):
        yield name, f"{prompts.file(template)}, line {lines.get(name, 1)}"
    for include in whole.find_all(nodes.Include):
        if isinstance(include.template, nodes.Const):
            part = str(include.template.value).removesuffix(ENDING)
            yield from _names_in(prompts, part, prompts.parsed(part).body, within)


def _problems_of_texts(prompts: Prompts, kind: DecisionKind[Any, Any]) -> Iterator[str]:
    """The first prompt that cannot be written or does not say which answer is asked for."""
    for observation in samples(kind.template):
        chat = " ".join(message.content for message in prompts.messages(kind, observation))
        asked = [f'"{field}"' for field in kind.schema(observation)["required"]]
        missing = [word for word in ["JSON", *asked] if word not in chat]
        if missing:
            yield (
                f"llm.prompts: {prompts.file(kind.template)}: does not say to answer with JSON "
                f"that holds {', '.join(asked)} ({', '.join(missing)}: missing)"
            )
            return
