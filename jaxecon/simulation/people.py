"""The people of an economy this year, in NumPy: for its tables and for language models."""

from collections.abc import Mapping

import numpy as np

from jaxecon.economy.devices import Layout, on_host
from jaxecon.economy.state import Economy, EconomyState
from jaxecon.simulation import programs


class People:
    """Each cohort's agents as they are this year.

    columns: by cohort, arrays (n,): skill, $/year per weekly hour, and survey weight.
    """

    def __init__(self, economy: Economy) -> None:
        self.columns: dict[str, dict[str, np.ndarray]] = {
            name: {"skill": on_host(cohort.skill), "weight": on_host(cohort.weight)}
            for name, cohort in economy.cohorts.items()
        }

    @property
    def skills(self) -> dict[str, np.ndarray]:
        """Skill by cohort, (n,), $/year per weekly hour."""
        return {name: columns["skill"] for name, columns in self.columns.items()}

    def change_skills(self, layout: Layout | None, economy: Economy, state: EconomyState) -> None:
        """Take over the skills of the current year of `state`."""
        skills = programs.skill_of_year(layout, economy, state)
        self.columns = {
            name: columns | {"skill": on_host(skills[name])}
            for name, columns in self.columns.items()
        }


def new_agents(state: EconomyState) -> Mapping[str, np.ndarray]:
    """Which agents took a retired agent's place at the start of this year, (n,) bool by cohort."""
    careers = state.dynamics.careers
    assert careers is not None
    return {name: on_host(years) == 0 for name, years in careers.years.items()}
