"""The commands optimum and compare."""

import json
import threading
from enum import StrEnum
from typing import Annotated

import typer

from jaxecon.cli.options import AgentsOption, ConfigArgument, OutOption, SetOption, keep_programs


class SearchMethod(StrEnum):
    auto = "auto"
    grid = "grid"
    gradient = "gradient"
    population = "population"


def optimum(
    config: ConfigArgument = None,
    set_: SetOption = None,
    agents: AgentsOption = None,
    method: Annotated[SearchMethod, typer.Option(help="How to search.")] = SearchMethod.auto,
    grid_step: Annotated[float, typer.Option(help="Between rates, for --method grid.")] = 0.1,
    monotone: Annotated[
        bool, typer.Option("--monotone", help="Rates may not fall from bracket to bracket.")
    ] = False,
    free_thresholds: Annotated[
        bool, typer.Option("--free-thresholds", help="Choose the thresholds too.")
    ] = False,
    out: OutOption = None,
    figure: Annotated[
        bool, typer.Option("--figure/--no-figure", help="Draw the schedules.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """The schedule with the most welfare at everybody's exact response, beside US federal and Saez."""
    keep_programs()
    from jaxecon.cli.policy_tables import print_optimum
    from jaxecon.cli.progress import busy
    from jaxecon.cli.words import POLICIES
    from jaxecon.report import schedules as figures
    from jaxecon.simulation.optimum import (
        people,
        plain,
        prepare_folder,
        study_optimum,
        write_optimum,
    )
    from jaxecon.simulation.prepare import default_folder
    from jaxecon.storage.paths import refuse_existing

    if figure:
        figures.check_matplotlib()
    overrides = [*(set_ or []), *(["planner.monotone=true"] if monotone else [])]
    resolved = people(config, overrides, agents)
    folder = out or default_folder()
    refuse_existing(folder)
    if figure:
        threading.Thread(target=figures.preload, daemon=True).start()
    with busy("searching"):
        study = study_optimum(
            resolved, method.value, free_thresholds=free_thresholds, grid_step=grid_step
        )
        prepare_folder(folder, resolved)
        write_optimum(folder, study)
        if figure:
            title = f"{study.agents:,} people, welfare {resolved.welfare.function}, preferences {resolved.preferences.set}"
            figures.schedules_figure(folder / "schedule.png", study.rows, POLICIES, title)
    if as_json:
        print(json.dumps(plain({"folder": str(folder), **vars(study)})))
    else:
        print_optimum(study, resolved, folder)


def compare(
    config: ConfigArgument = None,
    set_: SetOption = None,
    agents: AgentsOption = None,
    planners: Annotated[
        str,
        typer.Option(
            help="Names, separated by commas: us_federal, flat, saez, saez_self_consistent, "
            "optimum, uniform_50."
        ),
    ] = "us_federal,flat,saez,saez_self_consistent,optimum",
    populations: Annotated[
        int, typer.Option(min=1, max=100_000, help="Random populations, seeds seed, seed+1, ..")
    ] = 20,
    seed: Annotated[
        int | None, typer.Option(help="The same as --set seed=N.", show_default=False)
    ] = None,
    out: OutOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Planners on the same random populations, each at everybody's exact response, with standard
    errors.
    """
    keep_programs()
    from jaxecon.cli.policy_tables import print_comparison
    from jaxecon.cli.progress import counting
    from jaxecon.simulation import compare as simulation_compare
    from jaxecon.simulation.compare import check_planners, write_comparison
    from jaxecon.simulation.optimum import people, plain, prepare_folder
    from jaxecon.simulation.prepare import default_folder
    from jaxecon.storage.paths import refuse_existing

    names = [name.strip() for name in planners.split(",") if name.strip()]
    check_planners(names)
    resolved = people(
        config, [*(set_ or []), *([f"seed={seed}"] if seed is not None else [])], agents
    )
    folder = out or default_folder()
    refuse_existing(folder)
    with counting("population", populations) as on_population:
        comparison = simulation_compare.compare(resolved, names, populations, on_population)
    prepare_folder(folder, resolved)
    write_comparison(folder, comparison)
    if as_json:
        print(
            json.dumps(
                plain(
                    {
                        "folder": str(folder),
                        "yardstick": comparison.yardstick,
                        "summary": comparison.summary,
                    }
                )
            )
        )
    else:
        print_comparison(comparison, folder)
