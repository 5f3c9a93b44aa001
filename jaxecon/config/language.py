"""Settings of language models: what serves them, how they are asked, what they may cost."""

from typing import Any, Literal

from pydantic import Field

from jaxecon.config.base import Bounded, Section
from jaxecon.config.field_marks import Free
from jaxecon.config.memory import WorkerMemory
from jaxecon.config.names import EngineName, Style

# The setting whose value no error may show: a user may have put the key itself there.
KEY_SETTING = "api_key_env"
SECRET_SETTINGS = ("headers", "query", "extra_body", "base_url")  # likewise


class Price(Section):
    """Dollars per million tokens."""

    prompt: float = Field(0.0, ge=0, le=1e6)
    cached: float | None = Field(
        None,
        ge=0,
        le=1e6,
        description="Of prompt tokens from the provider's cache; unset: as `prompt`.",
    )
    completion: float = Field(0.0, ge=0, le=1e6)


class Serving(Section):
    """One model and what serves it."""

    engine: EngineName = Field(
        "vllm",
        description="vllm: in this process. openai: any server with OpenAI's interface. replay: "
        "an earlier run's transcript. "
        "simulated: a documented stand-in without a language model, for development.",
    )
    model: str = Field(
        "smollm2",
        min_length=1,
        description="A name of `jaxecon models list`, a Hugging Face name, a local folder; for "
        "openai the server's name of it.",
    )
    max_model_len: int = Field(
        2048,
        ge=256,
        le=1_048_576,
        description="Tokens of prompt and answer; histories are cut to fit.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: what is fastest on this device."
    )
    kv_cache_gib: Free[float] = Field(
        2.0, gt=0, le=4096, description="Key-value cache on a CPU, GiB."
    )
    gpu_memory_share: Free[float | None] = Field(
        None, gt=0, le=1, description="Share of a GPU's memory for the engine."
    )
    base_url: str | None = Field(
        None, description="Of openai, such as http://localhost:8000/v1; unset: OpenAI's own."
    )
    api_key_env: Free[str] = Field(
        "OPENAI_API_KEY",
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="The name of the environment variable that holds the key, in capitals; never "
        "the key.",
    )
    headers: Free[dict[str, str]] = Field(
        default_factory=dict,
        description="Sent with every request. ${NAME} stands for an environment variable's value; "
        "secrets are given in no other way.",
    )
    query: Free[dict[str, str]] = Field(
        default_factory=dict,
        description="Of every request's address, such as api-version; ${NAME} as in headers.",
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="Added to the body of every request, such as a provider's options; part of "
        "what tells one model from another.",
    )
    max_connections: Free[int] = Field(64, ge=1, le=10_000)
    requests_per_minute: Free[float | None] = Field(None, gt=0)
    tokens_per_minute: Free[float | None] = Field(
        None, gt=0, description="Of prompts and answers together."
    )
    timeout_seconds: Free[float] = Field(120.0, gt=0, le=86_400, description="Of one request.")
    transport_retries: Free[int] = Field(
        6, ge=0, le=100, description="After errors of the server or the network."
    )
    patience_seconds: Free[float] = Field(
        120.0, ge=0, le=86_400, description="How long a server may be gone before the run stops."
    )
    transcript: Free[str | None] = Field(
        None, description="Of replay: a run's folder, or its transcript.sqlite."
    )
    price: Free[Price] = Price()
    fallback: str | None = Field(
        None,
        description="A name in llm.others: the model that answers what this one does not, because "
        "it is gone or a request ends with an error.",
    )


def setting_of(model: str | None) -> str:
    """The section that describes a model of `llm.others`; None is `llm` itself."""
    return "llm" if model is None else f"llm.others.{model}"


class LLM(Serving):
    """How language models are asked; and the model that answers unless another one is chosen."""

    temperature: float = Field(0.7, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(
        48,
        ge=8,
        le=4096,
        description="Tokens of one answer at most; more where its form needs them.",
    )
    # free, since not the folder's name but its words decide: their hash is in the manifest
    prompts: Free[str | None] = Field(
        None,
        min_length=1,
        description="A folder of templates whose words take the place of the package's; "
        "`jaxecon prompts copy` makes one. The run keeps a copy.",
    )
    style: Style | None = Field(
        None,
        description="io: the answer alone. cot: a line of reasoning before it. Unset: cot for "
        "whoever sets the rates, io for everybody else.",
    )
    retries: int = Field(
        2,
        ge=0,
        le=10,
        description="Further attempts after an unusable answer, before the fallback.",
    )
    fallback_limit: Free[Bounded] = Field(
        0.5,
        description="Share of a model's answers to one batch that may be unusable, among at least "
        "8, before the run stops; below 1 it also stops where none is usable.",
    )
    decide_every: int = Field(
        1,
        ge=1,
        le=100_000,
        description="Days between an LLM worker's decisions; it keeps its hours in between.",
    )
    memory: WorkerMemory = WorkerMemory()
    budget_tokens: Free[int | None] = Field(
        None, ge=0, le=10**18, description="Prompt and completion tokens after which the run stops."
    )
    budget_usd: Free[float | None] = Field(
        None, ge=0, le=1e12, description="Dollars after which the run stops; needs prices."
    )
    others: dict[str, Serving] = Field(
        default_factory=dict,
        description="Further models by name, for cohorts and the planner to choose.",
    )

    def style_of(self, decision: str) -> Style:
        """The style in which a kind of decision is asked for; `plan` is that of setting rates."""
        return self.style or ("cot" if decision == "plan" else "io")
