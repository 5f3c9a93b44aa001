"""Options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated."),
]

SeedOption = Annotated[
    int | None, typer.Option(help="The same as --set seed=N.", show_default=False)
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]

BudgetTokensOption = Annotated[
    int | None,
    typer.Option(
        help="Stop after this many tokens of language models; --set llm.budget_tokens=N.",
        show_default=False,
    ),
]

BudgetUsdOption = Annotated[
    float | None,
    typer.Option(
        help="Stop after language models cost this many dollars; --set llm.budget_usd=X.",
        show_default=False,
    ),
]

# Options of optimum and compare.
PeopleConfigArgument = Annotated[
    Path | None,
    typer.Argument(help="YAML configuration; without one, --agents people.", show_default=False),
]

PeopleOption = Annotated[
    int | None,
    typer.Option(
        "--agents",
        min=1,
        max=100_000_000,
        help="People who respond exactly, without a CONFIG; by default 1000.",
        show_default=False,
    ),
]

StudyFolderOption = Annotated[
    Path | None,
    typer.Option("--out", help="A new folder; by default runs/TIME.", show_default=False),
]

# Options of sweep and experiment.
ExecutorName = Literal["local", "ray"]

ExecutorOption = Annotated[ExecutorName, typer.Option(help="This process, or a Ray cluster.")]

ContinuedFolderOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="A new folder, or one in which the same was interrupted: it continues.",
        show_default=False,
    ),
]

ForceVersionOption = Annotated[
    bool,
    typer.Option("--force", help="Continue what another version of jaxecon began."),
]

# Options of run and resume.
JoinProcessesOption = Annotated[
    bool,
    typer.Option(
        "--join-processes",
        help="This is one of several processes of one run, as JAX_COORDINATOR_ADDRESS, "
        "JAX_NUM_PROCESSES and JAX_PROCESS_ID, or Slurm, say.",
    ),
]

JoinSecondsOption = Annotated[
    int, typer.Option(min=1, max=86_400, help="Wait this long for them, with --join-processes.")
]


def overrides_of(set_: Sequence[str] | None, options: dict[str, Any]) -> list[str]:
    """All `key=value` overrides: those of --set, then those of options that set a key."""
    return [
        *(set_ or []),
        *(f"{key}={value}" for key, value in options.items() if value is not None),
    ]
