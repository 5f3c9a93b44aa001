"""The benchmark of scale: a year in JAX and the same year in Numba, on the same draws, are one
year.
"""

import jax
import numpy as np
import pytest

numba_year = pytest.importorskip(
    "experiments.benchmarks.numba_year", reason="Numba is not installed (extra bench)"
)

from experiments.benchmarks import scale  # noqa: E402
from jaxecon.core.draws import named_key, threefry_2x32  # noqa: E402
from jaxecon.economy.build import build_economy  # noqa: E402
from jaxecon.economy.days import simulate_days  # noqa: E402
from jaxecon.economy.first_schedule import first_schedule  # noqa: E402
from jaxecon.economy.year import initial_state, start_year  # noqa: E402


def test_threefry_is_the_same():
    key = np.asarray(jax.random.key_data(named_key(3, "a")))
    first = np.array([0, 1, 77, 2**32 - 1], np.uint32)
    ours = np.array(threefry_2x32(key, first, first[::-1]))
    theirs = [
        numba_year.threefry(key[0], key[1], x, y) for x, y in zip(first, first[::-1], strict=True)
    ]
    np.testing.assert_array_equal(ours.T, theirs)


@pytest.mark.parametrize("rule", scale.RULES)
def test_the_same_year(rule):
    """Hours of every agent exactly, over more than one block; the days' statistics, taxes and
    utilities to rounding.
    """
    days, agents = 12, numba_year.BLOCK + 905
    config = scale.config_of(rule, agents)
    economy, schedule = build_economy(config), first_schedule(config)
    state = jax.jit(initial_state)(economy, schedule)
    state, plan, sums = jax.jit(start_year)(economy, state, schedule, scale.YEAR)
    _, sums, record = jax.jit(simulate_days, static_argnames="days")(
        economy, plan, state, sums, days
    )
    theirs = scale.numba_year(economy, schedule, rule, days)
    theirs.start()
    for name, value in theirs.simulate().items():
        np.testing.assert_allclose(value, getattr(record, name), rtol=1e-5, err_msg=name)
    hours, tax, utility = theirs.sums
    if rule == "rational":
        np.testing.assert_allclose(hours, sums.hours["workers"], rtol=1e-6)
    else:
        np.testing.assert_array_equal(hours, sums.hours["workers"])
        assert len(np.unique(hours)) > 10
    np.testing.assert_allclose(tax, sums.tax["workers"], rtol=1e-5)
    np.testing.assert_allclose(utility, sums.utility["workers"], rtol=1e-5, atol=1.0)
