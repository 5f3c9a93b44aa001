"""The steps of a year, compiled once per process and shape instead of once per simulation.

Each takes the economy's layout (None on one device) before the function's own arguments.
"""

from jaxecon.core.compilation import WIDE_VECTORS
from jaxecon.economy import days, satisfaction, year
from jaxecon.economy.devices import compiled
from jaxecon.economy.impossible_hours import impossible_hours as impossible_hours_of
from jaxecon.economy.state import skill_of_year as skill_of_year_of
from jaxecon.economy.summary import summarise_year

initial_state = compiled(year.initial_state)

start_year = compiled(year.start_year, compiler_options=WIDE_VECTORS)

act = compiled(days.act, compiler_options=WIDE_VECTORS)

impossible_hours = compiled(impossible_hours_of)

settle = compiled(days.settle_and_learn, donate_argnums=(3,), compiler_options=WIDE_VECTORS)

simulate_days = compiled(
    days.simulate_checked_days,
    static_argnums=(4,),
    donate_argnums=(2, 3),
    compiler_options=WIDE_VECTORS,
)

judge = compiled(satisfaction.judge)

summarise = compiled(summarise_year)

end_year = compiled(year.end_year)

skill_of_year = compiled(skill_of_year_of)
