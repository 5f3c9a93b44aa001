"""The configuration of a run: pydantic models <-> YAML. Every field carries its range, unit and source."""

import copy
import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic
import yaml
from pydantic import Field

from jaxecon.errors import UserError

Bounded = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

NAMED_BRACKETS = ("flat", "three", "us_federal")
RULE_NAMES = ("rational", "quantal", "adaptive", "habit", "fixed")
LLM_RULE = "llm"


class Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Year(Section):
    days: int = Field(8, ge=1, le=100_000, description="Days in a tax year, each a complete economy at annual rates.")


class CohortConfig(Section):
    """One cohort in the full form of `population.cohorts`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,30}$", description="Unique; seeds the cohort's random numbers.")
    rule: str = Field(description="rational, quantal, adaptive, habit, fixed, llm, or package.module:Class.")
    size: int = Field(ge=1, le=100_000_000, description="Agents.")
    parameters: dict[str, float] = Field(default_factory=dict, description="The rule's parameters, by name.")


class Population(Section):
    mechanical: int = Field(2000, ge=0, le=100_000_000, description="Mechanical workers: half adaptive, half quantal.")
    llm: int = Field(16, ge=0, le=100_000, description="Workers whose decisions a language model writes.")
    cohorts: tuple[CohortConfig, ...] | None = Field(None, description="The full form; replaces `mechanical` and `llm`.")
    shares: dict[str, Bounded] = Field(
        default_factory=dict,
        description="Share of the people per cohort; `llm` names all LLM cohorts together (0.2 unless given). "
        "The rest is divided over the other cohorts by head count.",
    )
    skills: Literal["gb2", "uniform", "file"] = Field(
        "gb2", description="GB2 fitted to ACS 2023 income; the paper's uniform wages; microdata."
    )
    file: str | None = Field(
        None,
        description="Parquet or CSV with a column `skill` ($/year per weekly hour) or `income` ($/year at 40 h), "
        "and optionally `weight`.",
    )
    sampling: Literal["quantiles", "random"] = Field(
        "quantiles", description="Quantile midpoints, or draws that the seed decides."
    )


class PreferencesConfig(Section):
    set: Literal["calibrated", "annualised", "paper"] = Field("calibrated", description="docs/design.md, Parameter sets.")
    disutility_exponent: float = Field(3.5, gt=1, le=20, description="d; the elasticity of income is 1/(d-1).")
    consumption_curvature: float = Field(0.0, ge=0, le=10, description="eta of U(x); 0 is linear, 1 logarithmic.")
    max_hours: float = Field(100.0, ge=10, le=168, description="h/week.")


class Welfare(Section):
    function: Literal["inverse_income", "paper_fixed", "inverse_consumption", "utilitarian", "rawlsian", "atkinson"] = Field(
        "inverse_income", description="docs/design.md, Welfare weights."
    )
    floor: Positive = Field(10_000.0, description="$/year; below it incomes (or utilities, for atkinson) count as equal.")
    epsilon: float = Field(1.0, ge=0, le=50, description="Inequality aversion of atkinson.")
    satisfaction: Literal["private", "counted"] = Field(
        "private",
        description="Whether welfare counts the satisfaction penalty. (Nobody is dissatisfied yet: a later version judges it.)",
    )
    penalty: Bounded = Field(0.5, description="What dissatisfaction leaves of utility.")


class Budget(Section):
    public_spending: float = Field(0.0, ge=0, le=1e9, description="E, $/year per person.")
    rebate_floor: float | None = Field(None, description="Lowest rebate, $/year; unset lets it be a lump-sum tax.")


class Planner(Section):
    kind: Literal["auto", "fixed", "llm"] = Field("auto", description="auto: llm where there is an LLM cohort, else fixed.")


class Schedule(Section):
    brackets: Literal["flat", "three", "us_federal"] | tuple[float, ...] = Field(
        "us_federal", description="Named brackets or thresholds in $/year, the first 0, strictly increasing."
    )
    rates: Bounded | tuple[Bounded, ...] | None = Field(
        None,
        description="Rates of the first year, one for all or one per bracket. "
        "Unset: the US federal rates on US federal brackets, 0.5 (the paper's start) on others.",
    )


class LLM(Section):
    engine: Literal["vllm"] = Field("vllm", description="What serves the model.")
    model: str = Field(
        "smollm2", min_length=1, description="A name of `jaxecon models list`, a Hugging Face name, or a local folder."
    )
    temperature: float = Field(0.7, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(48, ge=8, le=4096, description="Tokens of one answer at most.")
    retries: int = Field(2, ge=0, le=10, description="Further attempts after an unusable answer, before the fallback.")
    window: int = Field(
        4,
        ge=0,
        le=1000,
        description="Days (a worker) or years (the planner) of its history that an agent is shown: so many to twice as many.",
    )
    max_model_len: int = Field(2048, ge=256, le=1_048_576, description="Tokens of prompt and answer.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="auto: what is fastest on this device.")
    kv_cache_gib: float = Field(2.0, gt=0, le=4096, description="Key-value cache on a CPU, GiB.")
    gpu_memory_share: float | None = Field(None, gt=0, le=1, description="Share of a GPU's memory for the engine.")


class Record(Section):
    agents: Literal["every", "sample", "none"] = Field("every", description="Which agents' years are written.")
    sample: int = Field(1000, ge=1, description="Agents of each cohort written with `sample`, evenly spaced.")


class Config(Section):
    """Everything that decides a run."""

    seed: int = Field(0, ge=0, lt=2**32)
    years: int = Field(4, ge=1, le=10_000_000, description="Tax years.")
    precision: Literal["auto", "float32", "float64"] = Field(
        "auto", description="Of the economy's arrays. auto: float64 with preferences.consumption_curvature > 0, else float32."
    )
    year: Year = Year()
    population: Population = Population()
    preferences: PreferencesConfig = PreferencesConfig()
    welfare: Welfare = Welfare()
    budget: Budget = Budget()
    planner: Planner = Planner()
    schedule: Schedule = Schedule()
    llm: LLM = LLM()
    record: Record = Record()

    @property
    def cohorts(self) -> tuple[CohortConfig, ...]:
        """The full form, derived from the head counts unless given."""
        p = self.population
        if p.cohorts is not None:
            return p.cohorts
        adaptive = (p.mechanical + 1) // 2
        sizes = (("adaptive", "adaptive", adaptive), ("quantal", "quantal", p.mechanical - adaptive), ("llm", LLM_RULE, p.llm))
        return tuple(CohortConfig(name=name, rule=rule, size=size) for name, rule, size in sizes if size)

    @property
    def planner_kind(self) -> Literal["fixed", "llm"]:
        if self.planner.kind != "auto":
            return self.planner.kind
        return "llm" if self.has_llm_cohort else "fixed"

    @property
    def has_llm_cohort(self) -> bool:
        return any(c.rule == LLM_RULE for c in self.cohorts)

    @property
    def needs_engine(self) -> bool:
        return self.has_llm_cohort or self.planner_kind == "llm"

    @property
    def shares(self) -> dict[str, float]:
        """Share of the people per cohort, summing to 1."""
        return _shares(self.cohorts, self.population.shares)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "Config":
        cohorts = self.cohorts
        if not cohorts:
            raise ValueError(
                "population: 0 agents; population.mechanical and population.llm (or population.cohorts) must add up to at least 1"
            )
        names = [c.name for c in cohorts]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"population.cohorts: name {name!r} is given {names.count(name)} times; names must be unique")
        for i, cohort in enumerate(cohorts):
            if ":" not in cohort.rule and cohort.rule not in (*RULE_NAMES, LLM_RULE):
                raise ValueError(
                    f"population.cohorts.{i}.rule: {cohort.rule!r}; "
                    f"{_one_of((*RULE_NAMES, LLM_RULE), cohort.rule)}, or package.module:Class"
                )
        _shares(cohorts, self.population.shares)
        curvature = self.preferences.consumption_curvature
        if self.precision == "float32" and curvature > 1:
            raise ValueError("precision: 'float32'; preferences.consumption_curvature above 1 needs float64 (auto takes it)")
        if self.welfare.function == "atkinson" and curvature > 0:
            raise ValueError(
                "welfare.function: 'atkinson'; its floor is in $/year, "
                f"so it needs preferences.consumption_curvature = 0, not {curvature:g}"
            )
        if (self.population.skills == "file") != (self.population.file is not None):
            raise ValueError(f"population.file: {self.population.file!r}; give it with population.skills=file, and only then")
        thresholds = self.schedule.brackets
        if not isinstance(thresholds, str):
            increasing = all(a < b for a, b in pairwise(thresholds))
            if not thresholds or thresholds[0] != 0 or not increasing:
                raise ValueError(
                    f"schedule.brackets: {list(thresholds)}; {', '.join(NAMED_BRACKETS)}, "
                    "or thresholds in $/year: the first 0, strictly increasing"
                )
        rates = self.schedule.rates
        count = {"flat": 1, "three": 3, "us_federal": 7}[thresholds] if isinstance(thresholds, str) else len(thresholds)
        if isinstance(rates, tuple) and len(rates) != count:
            raise ValueError(f"schedule.rates: {len(rates)} rates for {count} brackets; one for all, or one per bracket")
        return self


def _shares(cohorts: Sequence[CohortConfig], given: dict[str, float]) -> dict[str, float]:
    llm = [c for c in cohorts if c.rule == LLM_RULE]
    mechanical = [c for c in cohorts if c.rule != LLM_RULE]
    known = list(dict.fromkeys([c.name for c in cohorts] + ([LLM_RULE] if llm else [])))
    for name in given:
        if name not in known:
            raise ValueError(f"population.shares.{name}: no such cohort; {_one_of(known, name)}")
    shares = {
        c.name: given[c.name]
        for c in cohorts
        if c.name in given and not (c.name == LLM_RULE and c.rule == LLM_RULE and len(llm) > 1)
    }
    open_llm = [c for c in llm if c.name not in shares]
    open_mechanical = [c for c in mechanical if c.name not in shares]
    if open_llm:
        rest = 1 - sum(shares.values())
        together = given.get(LLM_RULE, 0.2 if mechanical else 1.0) - sum(shares.get(c.name, 0) for c in llm)
        together = together if open_mechanical else rest
        for c in open_llm:
            shares[c.name] = together * c.size / sum(c.size for c in open_llm)
    rest = 1 - sum(shares.values())
    for c in open_mechanical:
        shares[c.name] = rest * c.size / sum(c.size for c in open_mechanical)
    total = sum(shares.values())
    if abs(total - 1) > 1e-9 or min(shares.values()) <= 0:
        written = ", ".join(f"{name} {share:.6g}" for name, share in shares.items())
        raise ValueError(
            f"population.shares: {written} (sum {total:.6g}); every cohort's share must be above 0 and all must sum to 1"
        )
    return shares


def _one_of(names: Sequence[str], wrong: str) -> str:
    near = difflib.get_close_matches(wrong, names, 1, 0.6)
    listed = f"one of {', '.join(names)}"
    return f"did you mean {near[0]!r}? {listed}" if near else listed


def describe() -> Iterator[str]:
    """Every setting in a line: name, default, accepted range, meaning."""

    def walk(model: type[pydantic.BaseModel], path: tuple[str, ...]) -> Iterator[str]:
        for name, field in model.model_fields.items():
            section = next((s for m in _annotation_members(field.annotation) if (s := _section_of(m))), None)
            if section is not None and section is not CohortConfig:
                yield from walk(section, (*path, name))
                continue
            default = "required" if field.is_required() else field.get_default(call_default_factory=True)
            range_ = _accepted((*path, name)).replace(f"a section with {', '.join(CohortConfig.model_fields)}", "cohorts")
            yield f"{'.'.join((*path, name))} = {default}  ({range_})" + (
                f"\n    {field.description}" if field.description else ""
            )
            if section is CohortConfig:
                yield from walk(CohortConfig, (*path, name, "N"))

    yield from walk(Config, ())


# --- reading and writing -------------------------------------------------------------------------------------------


def load(source: "str | Path | dict[str, Any] | Config | None" = None, overrides: Sequence[str] = ()) -> Config:
    """The configuration from a YAML file, a dict, a Config or nothing (the defaults), with `key=value` overrides on top.

    Raises UserError: one line with the setting, the value and the accepted range.
    """
    if isinstance(source, Config):
        tree = source.model_dump(mode="json", exclude_unset=True)
    elif isinstance(source, dict):
        tree = copy.deepcopy(source)
    elif source is None:
        tree = {}
    elif isinstance(source, str | Path):
        tree = _read_yaml(Path(source))
    else:
        raise UserError(f"configuration: {source!r}; a path, a dict, a Config or None")
    if isinstance(overrides, str):
        raise UserError(f"overrides: {overrides!r}; a list of key=value")
    for override in overrides:
        _apply(tree, override)
    return _validate(tree)


def to_yaml(config: Config) -> str:
    """The resolved configuration: every setting with its value."""
    return str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key given twice is a mistake, and not its last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=True)
        if len(mapping) != len(node.value):
            names = [key.value for key, _ in node.value]
            twice = next(name for name in names if names.count(name) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"{twice} is given twice", node.start_mark)
        return mapping


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except OSError as error:
        raise UserError(f"configuration: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"configuration: {path}: not a text file in UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"configuration: {path}{where}: {getattr(error, 'problem', None) or 'not YAML'}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"configuration: {path}: holds a {type(tree).__name__}; a mapping of settings is needed")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {override!r}: needs the form key=value, for example year.days=16")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {key}: {text!r} is not a YAML value") from None
    *parents, last = key.strip().split(".")
    node: Any = tree
    for parent in parents:
        if isinstance(node, dict):
            node = node.setdefault(parent, {})
        elif isinstance(node, list) and parent.isdigit() and int(parent) < len(node):
            node = node[int(parent)]
        else:
            raise UserError(f"--set {key}: {parent!r} is not a section of settings")
        if node is None:
            raise UserError(f"--set {key}: {parent!r} is unset; give the whole of it")
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise UserError(f"--set {key}: {'.'.join(parents)} has no setting {last!r}")


def _validate(tree: dict[str, Any]) -> Config:
    for key in tree:
        if not isinstance(key, str):
            raise UserError(f"{key!r}: no such setting; {_one_of(list(Config.model_fields), str(key))}")
    try:
        return Config.model_validate(tree)
    except pydantic.ValidationError as error:
        # an unknown name first, since other complaints are often its consequence; then the most precise place
        problems = sorted(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", -len(_path(e))))
        settings = {_path(p)[:2] for p in problems}
        more = f" (and {len(settings) - 1} more)" if len(settings) > 1 else ""
        raise UserError(_explain(problems[0]) + more) from None


def _path(problem: Any) -> tuple[str, ...]:
    return tuple(str(part) for part in problem["loc"] if not _is_union_tag(part))


def _is_union_tag(part: object) -> bool:
    """pydantic puts the names of a union's members into the location; they are no part of the user's key."""
    return isinstance(part, str) and ("[" in part or part.startswith("constrained-") or part in ("float", "int", "str", "bool"))


def _explain(problem: Any) -> str:
    path = _path(problem)
    setting, value = ".".join(path), problem["input"]
    if problem["type"] == "extra_forbidden":
        return f"{setting}: no such setting; {_one_of(list(_fields_at(path[:-1])), path[-1])}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "missing":
        return f"{setting}: missing; {_accepted(path)}"
    if problem["type"] == "string_pattern_mismatch":
        return f"{setting}: {value!r}; lower-case letters, digits and _, beginning with a letter, at most 31"
    return f"{setting}: {value!r}; {_accepted(path)}"


def _annotation_members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(m for arg in get_args(annotation) for m in _annotation_members(arg))
    if typing.get_origin(annotation) is Annotated:
        return _annotation_members(get_args(annotation)[0])
    return (annotation,)


def _fields_at(path: Sequence[str]) -> dict[str, Any]:
    model: type[pydantic.BaseModel] = Config
    for part in path:
        if part.isdigit() or part == "N":
            continue
        field = model.model_fields.get(part)
        if field is None:
            return {}
        sections = [_section_of(m) for m in _annotation_members(field.annotation)]
        found = next((s for s in sections if s is not None), None)
        if found is None:
            return {}
        model = found
    return dict(model.model_fields)


def _section_of(annotation: Any) -> "type[pydantic.BaseModel] | None":
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    if typing.get_origin(annotation) is tuple:
        return _section_of(get_args(annotation)[0])
    return None


def _accepted(path: Sequence[str]) -> str:
    """The accepted range of a setting in words, from the model's own annotations."""
    named = [p for p in path if not (p.isdigit() or p == "N")]
    field = _fields_at(named[:-1]).get(named[-1])
    if field is None:  # an entry of a mapping: the mapping says what its values may be
        return _accepted(named[:-1])
    kinds = []
    for member in _annotation_members(field.annotation):
        if typing.get_origin(member) is Literal:
            kinds.append("one of " + ", ".join(map(str, get_args(member))))
        elif member is type(None):
            kinds.append("unset")
        elif typing.get_origin(member) is tuple:
            kinds.append("a list")
        elif typing.get_origin(member) is dict:
            kinds.append("a mapping of names to numbers")
        elif isinstance(member, type) and issubclass(member, pydantic.BaseModel):
            kinds.append(f"a section with {', '.join(member.model_fields)}")
        else:
            kinds.append({int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(member, ""))
    bounds = _bounds(field)
    return " or ".join(k for k in kinds if k) + (f" {bounds}" if bounds else "")


def _bounds(field: Any) -> str:
    metadata = list(field.metadata)
    for member in get_args(field.annotation):  # of a union's or a mapping's parts
        if typing.get_origin(member) is Annotated:
            metadata += [c for m in get_args(member)[1:] for c in getattr(m, "metadata", [m])]
    limits = {name: getattr(m, name) for m in metadata for name in ("gt", "ge", "lt", "le") if getattr(m, name, None) is not None}
    low = f"[{limits['ge']:g}" if "ge" in limits else f"({limits['gt']:g}" if "gt" in limits else ""
    high = f"{limits['le']:,.15g}]" if "le" in limits else f"{limits['lt']:,.15g})" if "lt" in limits else ""
    if low and high:
        return f"in {low}, {high}"
    if low:
        return f"{'of at least' if 'ge' in limits else 'above'} {low[1:]}"
    return f"of at most {high[:-1]}" if high else ""
