"""docs/reproduction.md, claim by claim, from the committed tables in experiments/results.

    python -m experiments.pages.reproduction                 # writes the page
    python -m experiments.pages.reproduction runs/NAME ..    # takes finished experiments over first

Every number on the page is read from a table, and so is every verdict: judging.py has the rules.
"""

import sys
from pathlib import Path

from experiments.pages.claims import CLAIMS, Claim
from experiments.pages.judging import Judgement, judge
from experiments.pages.results import (
    is_there,
    manifest_of,
    scale_text,
    shown_tables,
    take_over,
)
from experiments.suite.registry import NAMES
from experiments.suite.tables import markdown
from jaxecon.core.errors import UserError
from jaxecon.core.files import write_atomically

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reproduction.md"


INTRODUCTION = (
    "*LLM Economist* (arXiv 2507.15815) beside what jaxecon measures. Written by `python -m "
    "experiments.pages.reproduction` from the tables in `experiments/results/`; each verdict "
    "follows from their numbers by a rule in `experiments/pages/judging.py`. The commands are "
    "`jaxecon experiment NAME` ([experiments.md](experiments.md)). Square brackets hold 95 % "
    "intervals over populations; p is corrected by Holm's method within its table. *As simulated* "
    "and *at equilibrium*: in the last year's closing days, and where every worker responds "
    "exactly; *among choices*, workers take the best of the hours that they choose among. "
    "Planners that learn, mechanical ones and language models, know how many years are left, the "
    "mean of each schedule's years, and how much welfare differs between years at the same rates "
    "([language-models.md](language-models.md)). Mechanical workers and planners are tested; "
    "language models are described."
)


def page() -> str:
    """The whole of docs/reproduction.md."""
    judged = [(claim, judge(claim)) for claim in CLAIMS]
    summary = ["| | claim | verdict |", "|---|---|---|"]
    for i, (claim, judgement) in enumerate(judged, 1):
        summary.append(f"| {i} | {claim.text} | {judgement.verdict} |")
    parts = ["# The paper's claims, one by one", INTRODUCTION, "\n".join(summary)]
    for i, (claim, judgement) in enumerate(judged, 1):
        parts += _claim_section(i, claim, judgement)
    for name in filter(is_there, NAMES):
        parts += _tables_section(name)
    return "\n\n".join(parts) + "\n"


def _claim_section(i: int, claim: Claim, judgement: Judgement) -> list[str]:
    """A claim's paragraphs: what the paper says, what is measured, on which populations."""
    sources = [
        f"- `{name}` ({manifest_of(name)['size']}): {scale_text(name)}"
        for name in filter(is_there, claim.needs)
    ]
    return [
        f"## {i}. {claim.text}",
        f"*The paper:* {claim.paper}",
        f"*Here:* **{judgement.verdict}.** {judgement.measured}".rstrip(),
        *(["\n".join(sources)] if sources else []),
    ]


def _tables_section(name: str) -> list[str]:
    """An experiment's tables and figures."""
    return [
        f"## Tables of `{name}`",
        *map(markdown, shown_tables(name)),
        *(
            f"![{figure}](../experiments/results/{name}/figures/{figure})"
            for figure in manifest_of(name)["figures"]
        ),
    ]


def main() -> None:
    try:
        for folder in sys.argv[1:]:
            print(f"experiments/results/{take_over(Path(folder))}", file=sys.stderr)
    except UserError as error:
        sys.exit(f"reproduction: {error}")
    write_atomically(PAGE, page().encode())
    print(PAGE)


if __name__ == "__main__":
    main()
