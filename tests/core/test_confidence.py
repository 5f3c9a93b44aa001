"""Student's intervals against SciPy's."""

import numpy as np
import pytest
from scipy import stats

from jaxecon.core.confidence import mean_interval


@pytest.mark.parametrize(("n", "level"), [(2, 0.95), (3, 0.5), (10, 0.9), (200, 0.99)])
def test_mean_interval_against_scipy(n, level):
    x = np.random.default_rng(n).normal(3, 2, n)
    interval = mean_interval(x, level)
    low, high = stats.t.interval(level, n - 1, x.mean(), stats.sem(x))
    assert interval.mean == pytest.approx(x.mean())
    assert interval.standard_error == pytest.approx(stats.sem(x))
    assert (interval.mean - interval.half_width, interval.mean + interval.half_width) == (
        pytest.approx(low),
        pytest.approx(high),
    )


def test_too_few_values():
    one, none = mean_interval(np.array([4.0])), mean_interval(np.array([]))
    assert one.mean == 4.0
    assert np.isnan([one.standard_error, one.half_width, none.mean, none.half_width]).all()
