"""Who is satisfied, and what it does to utility and welfare."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

import jaxecon as je
from jaxecon.core.errors import UserError
from jaxecon.kernels.satisfaction import (
    Judgement,
    judged,
    net_tax_share,
    satisfaction_probability,
    tolerances,
)

SEED = jnp.uint32(7)
JUDGEMENT = Judgement(jnp.float32(0.05), jnp.float32(0.45), jnp.float32(0.05), SEED)


def test_probability_falls_with_the_burden():
    burden = np.linspace(-1, 1, 41).astype(np.float32)
    np.testing.assert_allclose(
        satisfaction_probability(burden, 0.25, 0.05), expit((0.25 - burden) / 0.05), atol=1e-6
    )
    assert satisfaction_probability(0.25, 0.25, 0.05) == pytest.approx(0.5)


def test_net_tax_share():
    np.testing.assert_allclose(
        net_tax_share(np.array([100.0, 0.0]), np.array([30.0, 0.0]), 10.0), [0.2, -10.0]
    )


def test_tolerances_are_spread_evenly_and_each_agents_own():
    drawn = np.asarray(tolerances(JUDGEMENT, "a", 20_000))
    assert drawn.min() >= 0.05
    assert drawn.max() <= 0.45
    np.testing.assert_allclose(np.quantile(drawn, [0.25, 0.5, 0.75]), [0.15, 0.25, 0.35], atol=0.01)
    np.testing.assert_array_equal(tolerances(JUDGEMENT, "a", 10), drawn[:10])
    assert not np.array_equal(tolerances(JUDGEMENT, "b", 10), drawn[:10])


def test_judgements_are_as_frequent_as_their_probabilities():
    income = np.linspace(1e4, 2e5, 20_000).astype(np.float32)
    tax = 0.3 * income
    said = np.stack(
        [
            judged(JUDGEMENT, SEED, "a", jnp.int32(year), jnp.int32(8), income, tax, 9e3)
            for year in range(40)
        ]
    )
    chance = expit((np.asarray(tolerances(JUDGEMENT, "a", 20_000)) - (tax - 9e3) / income) / 0.05)
    assert said.dtype == bool
    deviation = (said.mean(0) - chance) / np.sqrt(np.maximum(chance * (1 - chance), 1e-3) / 40)
    assert abs(deviation.mean()) < 0.05
    assert deviation.std() == pytest.approx(1, abs=0.1)


def economy(tmp_path, name, **given):
    cohorts = [{"name": "all", "rule": "quantal", "size": 400}]
    config = {
        "years": 3,
        "year": {"days": 6},
        "population": {"cohorts": cohorts},
        "planner": {"kind": "fixed", "compared_with": []},
        **given,
    }
    run = je.run(config, out=tmp_path / name)
    return run.years.to_pydict(), run.agents.to_pydict()


def test_a_schedule_bears_its_own_penalty(tmp_path):
    """Asked once a year, before the last day, by which the planner judges: that day is penalised,
    in the first year too.
    """
    off, _ = economy(tmp_path, "off")
    years, agents = economy(tmp_path, "on", satisfaction={"judged": True})
    assert off["satisfied_share"] == [1, 1, 1]
    assert all(0.5 < share < 0.99 for share in years["satisfied_share"])
    # private welfare, and the same decisions
    assert years["swf"] == off["swf"] == years["swf_private"]
    assert all(a < b for a, b in zip(years["swf_counted"], off["swf_counted"], strict=True))
    first, second = (
        b - a for a, b in zip(years["swf_counted"][:2], off["swf_counted"][:2], strict=True)
    )
    assert first < second / 3  # one day of six against all
    rows = np.array(agents["year"]), np.array(agents["satisfied"])
    assert rows[1][rows[0] == 2].mean() == pytest.approx(years["satisfied_share"][2])


def test_the_dissatisfied_keep_half_of_their_utility(tmp_path):
    _, off = economy(tmp_path, "off")
    _, on = economy(tmp_path, "on", satisfaction={"judged": True})
    off, on = ({k: np.array(v) for k, v in table.items()} for table in (off, on))
    second = on["year"] == 1
    # asked after five of the six days
    before, after = (~on["satisfied"][on["year"] == year] for year in (0, 1))
    always = before & after
    private, felt = off["utility"][second], on["utility"][second]
    expected = private - 0.5 * np.abs(private)
    # means of days
    np.testing.assert_allclose(
        felt[always & (private > 0)], expected[always & (private > 0)], rtol=0.02
    )
    np.testing.assert_array_equal(felt[~before & ~after], private[~before & ~after])
    assert always.sum() > 3


def test_counted_welfare_is_what_the_planner_sees(tmp_path):
    years, _ = economy(
        tmp_path, "counted", satisfaction={"judged": True}, welfare={"satisfaction": "counted"}
    )
    assert years["swf"] == years["swf_counted"]
    assert years["swf_private"][1] > years["swf_counted"][1]


def test_every_n_days(tmp_path):
    """With judgements inside the year its own days are penalised already."""
    yearly, _ = economy(tmp_path, "yearly", satisfaction={"judged": True})
    often, _ = economy(tmp_path, "often", satisfaction={"judged": True, "every_days": 2})
    assert often["swf_private"] == yearly["swf_private"]
    assert often["swf_counted"][0] < yearly["swf_counted"][0]
    with pytest.raises(UserError, match=r"satisfaction.every_days: 7; at most year.days = 6"):
        economy(tmp_path, "never", satisfaction={"judged": True, "every_days": 7})
