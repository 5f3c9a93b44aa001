"""The commands settings and doctor."""

import json
from typing import Annotated

import typer


def settings() -> None:
    """All settings: default, accepted range, meaning."""
    from jaxecon.config.describe import describe

    for line in describe():
        print(line)


def doctor(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Versions, devices and models found; what is missing."""
    from jaxecon.cli.examine import examine, print_report

    report = examine()
    if as_json:
        print(json.dumps(report))
    else:
        print_report(report)
