"""Every rule, planner, policy, engine, decision and diagnostic by name: its words and its colour.

Settings, tables and figures read their names here. The classes behind them are in the registry of
their own folder (`jaxecon.workers.registry`, `jaxecon.planners.registry`, `llm.engines.registry`,
`llm.decisions.registry`), whose names are these; a test holds them together. No heavy import here.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args


@dataclass(frozen=True)
class Name:
    """What people see of a name in a configuration.

    words: in tables and legends. colour: of its line in a figure, from Okabe and Ito's palette,
    which everybody can tell apart. line: matplotlib's style of the line.
    """

    words: str
    colour: str = "#009E73"
    line: str = "-"


RULES = {
    "rational": Name("exact response"),
    "quantal": Name("quantal response"),
    "adaptive": Name("adaptive learning"),
    "habit": Name("habit"),
    "fixed": Name("fixed hours"),
    "altruistic": Name("altruists"),
    "adversarial": Name("adversaries"),
}
# Rules whose workers take any hours, or always the same.
WITHOUT_CHOICES = ("rational", "habit", "fixed", "altruistic", "adversarial")
LLM_RULE = "llm"  # in the place of a rule: a language model decides

# Planners that compute one schedule and announce it every year.
POLICIES = {
    "us_federal": Name("US federal", "#999999"),
    "flat": Name("best flat", "#56B4E9", "--"),
    "saez": Name("Saez", "#E69F00"),
    "saez_self_consistent": Name("Saez, fixed point", "#D55E00", "-."),
    "optimum": Name("optimum", "#000000"),
    "uniform_50": Name("50 % everywhere", "#CC79A7", ":"),
}
# Named brackets: how many each of them has.
BRACKETS = {"flat": 1, "three": 3, "us_federal": 7}

FINAL = "final"  # the row of a closing table with the run's own last schedule
FINAL_NAME = Name("planner")


def policy_name(policy: str) -> Name:
    """The name of a policy, or of the row of the run's own last schedule."""
    return FINAL_NAME if policy == FINAL else POLICIES[policy]


PLANNERS = {
    "fixed": Name("fixed"),
    "in_context": Name("in-context learning"),
    "llm": Name("language model"),
    "elected": Name("elected worker"),
    **POLICIES,
}

ENGINES = {
    "vllm": Name("vLLM in this process"),
    "openai": Name("a server with OpenAI's interface"),
    "simulated": Name("simulated"),
    "replay": Name("an earlier run's transcript"),
}

DECISIONS = {
    "labor": Name("hours"),
    "satisfaction": Name("satisfaction"),
    "plan": Name("plan"),
    "persona": Name("persona"),
    "candidacy": Name("candidacy"),
    "vote": Name("vote"),
    "survey": Name("survey"),
}


def decision_name(kind: str) -> str:
    """The name in DECISIONS of a recorded kind: `survey`, of the question `survey:NAME`."""
    return kind.partition(":")[0]


def decision_words(kind: str) -> str:
    """A recorded kind of decision in words."""
    _, _, question = kind.partition(":")
    return " ".join([DECISIONS[decision_name(kind)].words, question]).strip()


DIAGNOSTICS = {
    "oscillating_rates": Name("oscillating rates"),
    "welfare_collapse": Name("welfare collapse"),
    "homogeneous_labor": Name("homogeneous labour"),
    "fallback_rate": Name("many fallbacks"),
}

Style = Literal["io", "cot"]  # of an answer: alone, or after a line of reasoning

# How a language model's decision was reached: at once, after repairing its answer, after asking
# again, or by the rule that stands in for an answer.
Status = Literal["ok", "repaired", "retried", "fallback"]
STATUSES: tuple[str, ...] = get_args(Status)

# Types of the settings that choose a name. For a type checker, which cannot read a table, they are
# text; pydantic checks them against the tables.
if TYPE_CHECKING:
    EngineName: TypeAlias = str
    PlannerKind: TypeAlias = str
    PolicyName: TypeAlias = str
    BracketsName: TypeAlias = str
else:
    EngineName = Literal[tuple(ENGINES)]
    PlannerKind = Literal[("auto", *PLANNERS)]
    PolicyName = Literal[tuple(POLICIES)]
    BracketsName = Literal[tuple(BRACKETS)]
