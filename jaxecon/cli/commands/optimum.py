"""`jaxecon optimum`. Imports what takes long (JAX, matplotlib) when it is called."""

import threading
from typing import Annotated, Literal

import typer

from jaxecon.cli.options import PeopleConfigArgument, PeopleOption, SetOption, StudyFolderOption
from jaxecon.cli.preparation import keep_compiled_programs
from jaxecon.core.json_text import json_text

_MethodOption = Annotated[
    Literal["auto", "grid", "gradient", "population"], typer.Option(help="How to search.")
]

_FigureOption = Annotated[bool, typer.Option("--figure/--no-figure", help="Draw the schedules.")]


def optimum(
    config: PeopleConfigArgument = None,
    set_: SetOption = None,
    agents: PeopleOption = None,
    method: _MethodOption = "auto",
    grid_step: Annotated[float, typer.Option(help="Between rates, for --method grid.")] = 0.1,
    monotone: Annotated[
        bool, typer.Option("--monotone", help="Rates may not fall from bracket to bracket.")
    ] = False,
    free_thresholds: Annotated[
        bool, typer.Option("--free-thresholds", help="Choose the thresholds too.")
    ] = False,
    out: StudyFolderOption = None,
    figure: _FigureOption = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Search for the schedule with the highest welfare where everybody responds exactly.

    US federal and Saez schedules are printed beside it.
    """
    keep_compiled_programs()
    from jaxecon.cli.output.optimum import print_optimum
    from jaxecon.cli.output.progress import spinner
    from jaxecon.report import schedules
    from jaxecon.simulation.optimum import (
        people,
        prepare_folder,
        study_optimum,
        write_optimum,
    )
    from jaxecon.simulation.prepare import default_folder
    from jaxecon.storage.paths import refuse_existing

    if figure:
        schedules.check_matplotlib()
    overrides = [*(set_ or []), *(["planner.monotone=true"] if monotone else [])]
    resolved = people(config, overrides, agents)
    folder = out or default_folder()
    refuse_existing(folder)
    if figure:
        threading.Thread(target=schedules.preload, daemon=True).start()
    with spinner("searching"):
        study = study_optimum(
            resolved, method, free_thresholds=free_thresholds, grid_step=grid_step
        )
        prepare_folder(folder, resolved)
        write_optimum(folder, study)
        if figure:
            title = (
                f"{study.agents:,} people, welfare {resolved.welfare.function}, preferences "
                f"{resolved.preferences.set}"
            )
            schedules.draw_schedules(folder / "schedule.png", study.rows, title)
    if as_json:
        print(json_text({"folder": str(folder), **vars(study)}))
    else:
        print_optimum(study, resolved, folder)
