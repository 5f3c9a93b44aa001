"""Skills, schedules and preferences for tests of responses."""

import hypothesis.strategies as st
import numpy as np
from oracles import economy as oracle

ETAS = [0.0, 0.5, 1.0, 2.0]


# thresholds cross incomes at every skill; the last is beyond most caps. Four brackets, so that one
# compilation serves
SCHEDULES = {
    "us_federal": (oracle.US_THRESHOLDS, oracle.US_RATES),
    "flat": ([0.0, 9_000.0, 60_000.0, 300_000.0], [0.4, 0.4, 0.4, 0.4]),
    "nothing": ([0.0, 9_000.0, 60_000.0, 300_000.0], [0.0, 0.0, 0.0, 0.0]),
    "everything": ([0.0, 9_000.0, 60_000.0, 300_000.0], [1.0, 1.0, 1.0, 1.0]),
    "falling": ([0.0, 9_000.0, 60_000.0, 300_000.0], [0.9, 0.6, 0.3, 0.05]),
    "seesaw": ([0.0, 500.0, 20_000.0, 80_000.0], [0.1, 0.8, 0.2, 0.7]),
    "confiscated_middle": ([0.0, 15_000.0, 70_000.0, 120_000.0], [0.2, 1.0, 0.3, 1.0]),
    "confiscated_bottom": ([0.0, 8_000.0, 50_000.0, 1e9], [1.0, 0.0, 0.5, 1.0]),
    "free_middle": ([0.0, 15_000.0, 70_000.0, 120_000.0], [0.5, 0.0, 0.5, 0.0]),
}


def common_weight(eta):
    """A disutility that spreads hours over 0..100 at any curvature: annualised at a consumption of
    30,000.
    """
    return 0.026 * 30_000.0**-eta


RATES = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=4, max_size=4
).map(np.array)
