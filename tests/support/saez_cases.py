"""People, incomes and weights for tests of Saez's formulas."""

import numpy as np
from oracles import economy

N = 1_000
T = economy.THREE_THRESHOLDS
SKILL = economy.skills(N)
COST = economy.calibrated_weight(SKILL)
INCOME = 40 * SKILL  # under US federal everybody works 40 hours
G = economy.welfare_weights("inverse_income", INCOME)


def sample(seed=0, sigma=1.0, zeros=0):
    """Lognormal incomes, survey weights and welfare weights of mean one, (N,) each; the first few
    earn nothing.
    """
    rng = np.random.default_rng(seed)
    z, w = rng.lognormal(10.8, sigma, N), rng.uniform(0.2, 4.0, N)
    z[:zeros] = 0.0
    g = 1 / np.maximum(z, 5_000)
    return z, g / np.average(g, weights=w), w


ONES = np.ones(N)
