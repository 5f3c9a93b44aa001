"""`jaxecon compare`. Imports what takes long (JAX) when it is called."""

from typing import Annotated

import typer

from jaxecon.cli.options import (
    JsonOption,
    PeopleConfigArgument,
    PeopleOption,
    SeedOption,
    SetOption,
    StudyFolderOption,
    overrides_of,
)
from jaxecon.cli.preparation import keep_compiled_programs
from jaxecon.config.names import POLICIES
from jaxecon.core.json_text import json_text

_DEFAULT_PLANNERS = ",".join(name for name in POLICIES if name != "uniform_50")


def compare(
    config: PeopleConfigArgument = None,
    set_: SetOption = None,
    agents: PeopleOption = None,
    planners: Annotated[
        str, typer.Option(help=f"Names, separated by commas: {', '.join(POLICIES)}.")
    ] = _DEFAULT_PLANNERS,
    populations: Annotated[
        int, typer.Option(min=1, max=100_000, help="Random populations, seeds seed, seed+1, ..")
    ] = 20,
    seed: SeedOption = None,
    out: StudyFolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare planners on the same random populations, where everybody responds exactly.

    Differences are printed with standard errors.
    """
    keep_compiled_programs()
    from jaxecon.cli.output.compare import print_comparison
    from jaxecon.cli.output.progress import counting
    from jaxecon.simulation import compare as simulation_compare
    from jaxecon.simulation.compare import check_planners, write_comparison
    from jaxecon.simulation.optimum import people, prepare_folder
    from jaxecon.simulation.prepare import default_folder
    from jaxecon.storage.paths import refuse_existing

    names = [name.strip() for name in planners.split(",") if name.strip()]
    check_planners(names)
    resolved = people(config, overrides_of(set_, {"seed": seed}), agents)
    folder = out or default_folder()
    refuse_existing(folder)
    with counting("population", populations) as on_population:
        comparison = simulation_compare.compare(resolved, names, populations, on_population)
    prepare_folder(folder, resolved)
    write_comparison(folder, comparison)
    if as_json:
        record = {
            "folder": str(folder),
            "yardstick": comparison.yardstick,
            "summary": comparison.summary,
        }
        print(json_text(record))
    else:
        print_comparison(comparison, folder)
