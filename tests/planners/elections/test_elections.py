"""Elections in whole runs: mechanical ones, those of sweeps, hybrid ones on the simulated engine,
votes on a planner.
"""

import itertools
import json

import numpy as np
import pytest
from support.runs import assert_same_run, run_killed

import jaxecon as je
from jaxecon.cli.output.run import print_summary
from jaxecon.core.errors import UserError
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion
from llm.transcript.store import Transcript

POOR_AND_RICH = "skill\n250\n260\n3000\n"  # $/year per weekly hour: two who live off the third


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    path = tmp_path_factory.mktemp("people") / "three.csv"
    path.write_text(POOR_AND_RICH)
    return {
        "years": 5,
        "year": {"days": 2},
        "population": {
            "cohorts": [{"name": "people", "rule": "rational", "size": 3}],
            "skills": "file",
            "file": str(path),
        },
        "planner": {"kind": "elected", "compared_with": ["optimum"]},
        "schedule": {"brackets": "flat", "rates": 0.2},
        "elections": {
            "noise": 0.0,
            "method": "approval",
        },  # with plurality all three would vote for themselves
    }


def changed(config, **sections):
    return {
        **config,
        **{name: {**config.get(name, {}), **values} for name, values in sections.items()},
    }


def test_a_majority_taxes_the_minority(three, tmp_path):
    run = je.run(three, out=tmp_path / "run")
    years = run.years.to_pylist()
    assert years[0]["leader"] == "nobody"
    assert {y["leader"] for y in years[1:]} <= {"people 0", "people 1"}
    # the optimum of somebody whose own income hardly counts is near the rate that raises most,
    # 1/(1+e) with e = 0.4
    assert all(abs(y["rate_0"] - 1 / 1.4) < 0.06 for y in years[1:])
    best = {p["policy"]: p for p in run.summary["policies"]}
    assert best["final"]["gain"] < best["optimum"]["gain"]
    utility = {(a["year"], a["agent"]): a["utility"] for a in run.agents.to_pylist()}
    assert utility[4, 0] > utility[0, 0]
    assert utility[4, 1] > utility[0, 1]
    assert utility[4, 2] < 0.75 * utility[0, 2]


def test_elections_and_ballots_are_recorded(three, tmp_path):
    run = je.run(three, out=tmp_path / "run")
    elections, ballots = run.elections.to_pylist(), run.ballots.to_pylist()
    assert {e["year"] for e in elections} == {1, 2, 3, 4}
    assert {(b["year"], b["agent"]) for b in ballots} == {
        (year, agent) for year in range(1, 5) for agent in range(3)
    }
    assert len(ballots) > 4 * 3  # some approve of two
    for year in range(1, 5):
        candidates = [e for e in elections if e["year"] == year]
        assert sorted(c["agent"] for c in candidates) == [0, 1, 2]
        (winner,) = [c for c in candidates if c["elected"]]
        votes = [b["candidate"] for b in ballots if b["year"] == year]
        for c in candidates:
            assert c["score"] == votes.count(c["candidate"])
        assert winner["score"] == max(c["score"] for c in candidates)
        row = run.years.to_pylist()[year]
        assert row["leader"] == f"people {winner['agent']}"
        assert row["rate_0"] == pytest.approx(winner["platform_0"])
    first = [e for e in elections if e["year"] == 1]
    assert all(e["stood"] for e in first)  # each would gain by its own optimum over 20 %


def test_a_sweep_has_the_same_elections_as_its_runs(three, tmp_path):
    config = changed(
        three, elections={"method": "instant_runoff", "noise": 0.3}, planner={"compared_with": []}
    )
    config["population"] = {
        "cohorts": [
            {"name": "a", "rule": "quantal", "size": 7},
            {"name": "b", "rule": "adaptive", "size": 5},
        ]
    }
    config["schedule"] = {"brackets": "three", "rates": 0.4}
    found = je.sweep({"run": config, "seeds": 3}, out=tmp_path / "sweep")
    assert found.points["status"].to_pylist() == ["ok"] * 3
    leaders = set()
    for seed in range(3):
        alone = je.run(
            config, overrides=[f"seed={seed}"], out=tmp_path / f"run{seed}"
        ).years.to_pylist()
        ours = [row for row in found.years.to_pylist() if row["point"] == seed]
        assert [row["leader"] for row in ours] == [row["leader"] for row in alone]
        # rounding may move an optimum by a tenth of a point
        for name in ("rate_0", "rate_1", "rate_2", "gain_equilibrium"):
            np.testing.assert_allclose(
                [row[name] for row in ours], [row[name] for row in alone], atol=2e-3
            )
        leaders |= {row["leader"] for row in ours}
    assert len(leaders) > 2


def test_nobody_leads_longer_than_the_limit(three, tmp_path):
    config = changed(three, elections={"term_limit": 1})
    leaders = je.run({**config, "years": 7}, out=tmp_path / "run").years["leader"].to_pylist()[1:]
    assert all(a != b for a, b in itertools.pairwise(leaders))
    free = je.run({**three, "years": 7}, out=tmp_path / "free").years["leader"].to_pylist()[1:]
    assert any(a == b for a, b in itertools.pairwise(free))


def test_without_candidates_the_incumbent_stays(three, tmp_path):
    dear = je.run(changed(three, elections={"cost": 1e9}), out=tmp_path / "dear")
    years = dear.years.to_pylist()
    assert {y["leader"] for y in years} == {"nobody"}
    assert {y["rate_0"] for y in years} == {0.2}
    assert not any(e["stood"] or e["elected"] for e in dear.elections.to_pylist())
    assert {b["candidate"] for b in dear.ballots.to_pylist()} == {-1}


def test_only_the_eligible_stand(three, tmp_path):
    config = changed(three, elections={"eligible": ["a"], "candidates": 2, "platforms": False})
    config["population"] = {
        "cohorts": [
            {"name": "a", "rule": "rational", "size": 4},
            {"name": "b", "rule": "rational", "size": 9},
        ]
    }
    run = je.run(config, out=tmp_path / "run")
    assert {e["cohort"] for e in run.elections.to_pylist()} == {"a"}
    assert all(leader.startswith("a ") for leader in run.years["leader"].to_pylist()[1:])
    assert {b["cohort"] for b in run.ballots.to_pylist()} == {"a", "b"}


# --- a standing planner ---------------------------------------------------------------------------


def test_a_planner_that_makes_most_worse_off_is_replaced(three, tmp_path):
    """The majority likes 70 %; planners who go to 50 % are replaced after a year."""
    config = changed(
        three,
        planner={"kind": "uniform_50"},
        schedule={"rates": 0.7},
        elections={"retention": True},
    )
    run = je.run({**config, "years": 6}, out=tmp_path / "run")
    assert [round(y["rate_0"], 6) for y in run.years.to_pylist()] == [0.7, 0.5, 0.7, 0.5, 0.7, 0.5]
    votes = [e for e in run.elections.to_pylist() if e["year"] == 2]
    assert [(e["score"], e["elected"]) for e in votes] == [(1.0, False), (2.0, True)]
    assert not any(e["year"] == 1 for e in run.elections.to_pylist())  # nothing was at stake
    liked = changed(config, schedule={"rates": 0.1})
    rates = je.run({**liked, "years": 4}, out=tmp_path / "liked").years["rate_0"].to_pylist()
    np.testing.assert_allclose(rates, [0.1, 0.5, 0.5, 0.5], rtol=1e-6)


def test_a_sweep_has_the_same_votes_on_a_planner_as_its_runs(three, tmp_path):
    config = changed(
        three,
        planner={"kind": "in_context", "compared_with": []},
        elections={"retention": True, "noise": 0.02},
    )
    config = {**config, "years": 12, "population": {"mechanical": 12, "llm": 0}}
    found = je.sweep({"run": config, "seeds": 2}, out=tmp_path / "sweep").years.to_pylist()
    for seed in range(2):
        alone = je.run(config, overrides=[f"seed={seed}"], out=tmp_path / f"run{seed}")
        ours = [row["rate_0"] for row in found if row["point"] == seed]
        np.testing.assert_allclose(ours, alone.years["rate_0"].to_pylist(), rtol=1e-6)
        thrown_out = [
            e["year"] for e in alone.elections.to_pylist() if e["candidate"] == 1 and e["elected"]
        ]
        assert thrown_out


# --- language models ------------------------------------------------------------------------------

HYBRID = {
    "years": 4,
    "year": {"days": 3},
    "population": {"mechanical": 8, "llm": 4},
    "planner": {"kind": "elected", "compared_with": []},
    "elections": {"eligible": ["llm"]},
    "schedule": {"brackets": "three", "rates": 0.3},
    "llm": {"engine": "simulated"},
    "checkpoint": {"every_days": 2, "every_minutes": None, "keep_last": 100},
}


def conversations(path, kind):
    transcript = Transcript(path / "transcript.sqlite", read_only=True)
    found = [c for c in transcript.conversations() if c["kind"] == kind]
    transcript.close()
    return found


def test_models_stand_vote_and_lead(tmp_path):
    run = je.run(HYBRID, out=tmp_path / "run")
    stood = {(e["year"], e["agent"]): e["stood"] for e in run.elections.to_pylist()}
    said = {
        (c["year"], c["agent"]): json.loads(c["response"])["stand"]
        for c in conversations(run.path, "candidacy")
    }
    assert stood == said
    assert len(said) == 3 * 4
    assert True in said.values()
    assert False in said.values()
    elections = {(e["year"], e["candidate"]): e for e in run.elections.to_pylist()}
    ballots = {
        (b["year"], b["agent"]): b["candidate"]
        for b in run.ballots.to_pylist()
        if b["cohort"] == "llm"
    }
    places = set()
    for c in conversations(run.path, "vote"):
        number, candidate = json.loads(c["response"])["vote"], ballots[c["year"], c["agent"]]
        if number == 0:
            assert candidate == -1
            continue
        (line,) = (
            x for x in c["messages"][1]["content"].splitlines() if x.startswith(f"{number}: ")
        )
        e = elections[c["year"], candidate]
        rates = "/".join(f"{100 * e[f'platform_{k}']:.0f}" for k in range(3))
        assert line.endswith(f"would set {rates} %")
        assert line.startswith(f"{number}: you") == (
            (e["cohort"], e["agent"]) == ("llm", c["agent"])
        )
        places.add((number, candidate))
    # ballots differ in their order
    assert len({number - candidate for number, candidate in places}) > 1
    years = run.years.to_pylist()
    for plan in conversations(run.path, "plan"):
        assert years[plan["year"]]["leader"] == f"llm {plan['agent']}"
        moves = json.loads(plan["response"])["changes"]
        for k, move in enumerate(moves):
            before = years[plan["year"] - 1][f"rate_{k}"]
            assert years[plan["year"]][f"rate_{k}"] == pytest.approx(
                min(max(before + move / 100, 0), 1)
            )
    assert any(y["leader"].startswith("llm ") for y in years)


def test_what_voters_see(tmp_path):
    run = je.run(HYBRID, out=tmp_path / "run")
    last = next(c for c in conversations(run.path, "vote") if c["year"] == 3)
    told = last["messages"][1]["content"]
    assert "Year 1, 30/30/30 %: your utility" in told
    assert "The candidates:\n1: " in told
    assert "would set" in told


def test_what_a_run_says_of_its_leaders(three, tmp_path, capsys):
    print_summary(je.run({**three, "years": 3}, out=tmp_path / "run"))
    assert "Leaders by year: nobody (1), people " in " ".join(capsys.readouterr().out.split())
    config = changed(
        three,
        planner={"kind": "uniform_50"},
        schedule={"rates": 0.7},
        elections={"retention": True},
    )
    print_summary(je.run({**config, "years": 4}, out=tmp_path / "kept"))
    assert "Voted out by the workers before year 3." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("method", ["approval", "instant_runoff", "borda"])
def test_models_vote_by_every_method(tmp_path, method):
    run = je.run(
        HYBRID,
        overrides=[f"elections.method={method}", "elections.platforms=false"],
        out=tmp_path / "run",
    )
    assert run.manifest["status"] == "complete"
    ranks = {b["rank"] for b in run.ballots.to_pylist() if b["cohort"] == "llm"}
    assert ranks <= {0, 1} if method == "approval" else ranks == {1, 2, 3, 4}
    assert not conversations(run.path, "candidacy")


def test_a_model_votes_on_a_planner(tmp_path):
    overrides = ["planner.kind=uniform_50", "elections.retention=true", "elections.eligible=null"]
    run = je.run(HYBRID, overrides=overrides, out=tmp_path / "run")
    votes = conversations(run.path, "vote")
    assert {c["year"] for c in votes} <= {2, 3}
    assert len([c for c in votes if c["year"] == 2]) == 4
    assert {e["cohort"] for e in run.elections.to_pylist()} == {""}
    assert all("elect" not in c["messages"][0]["content"] for c in votes)
    assert all("A planner sets the tax rates." in c["messages"][0]["content"] for c in votes)


def test_a_replaced_planner_is_not_asked(tmp_path):
    overrides = [
        "planner.kind=llm",
        "elections.retention=true",
        "elections.eligible=null",
        "years=7",
        "elections.noise=0.5",
    ]
    run = je.run(HYBRID, overrides=overrides, out=tmp_path / "run")
    out = {e["year"] for e in run.elections.to_pylist() if e["candidate"] == 1 and e["elected"]}
    assert out
    assert {c["year"] for c in conversations(run.path, "plan")} == set(range(1, 7)) - out


@pytest.mark.parametrize(
    "change",
    [
        ["elections.candidates=3"],
        ["planner.kind=fixed"],
        ["planner.kind=fixed", "elections.retention=true"],
    ],
    ids=lambda change: change[-1],
)
def test_a_branch_holds_other_elections(whole, tmp_path, change):
    (branch,) = je.branch(whole.path, year=2, overrides=change, out=tmp_path / "branch")
    assert branch.manifest["status"] == "complete"
    (again,) = je.branch(
        branch.path,
        year=3,
        overrides=["planner.kind=elected", "elections.retention=false"],
        out=tmp_path / "back",
    )
    assert again.years["leader"].to_pylist()[-1] != "fixed"


def test_a_branch_of_other_preferences_has_other_platforms(three, tmp_path):
    run = je.run({**three, "years": 3}, out=tmp_path / "run")
    (branch,) = je.branch(
        run.path, year=2, overrides=["preferences.disutility_exponent=1.5"], out=tmp_path / "branch"
    )

    leads = run.years["leader"].to_pylist()[1]

    def announced(of):
        """By who does not lead, whose platform is the schedule in force."""
        return [
            e["platform_0"]
            for e in of.elections.to_pylist()
            if e["year"] == 2 and f"people {e['agent']}" != leads
        ]

    assert max(announced(run)) > 0.6
    assert max(announced(branch)) < 0.4  # who responds more can be taken less from


def test_without_a_usable_answer_a_worker_neither_stands_nor_votes(tmp_path):
    engine = ScriptedEngine(lambda request: Completion("I would rather not say."))
    unanswered = ["llm.retries=0", "llm.fallback_limit=1"]
    run = je.run(HYBRID, overrides=unanswered, out=tmp_path / "run", engine=engine)
    assert {y["leader"] for y in run.years.to_pylist()} == {"nobody"}
    assert not any(e["stood"] for e in run.elections.to_pylist())
    assert run.summary["llm"]["by_kind"]["candidacy"] == {"fallback": 12}
    run = je.run(
        HYBRID,
        overrides=[*unanswered, "elections.platforms=false"],
        out=tmp_path / "all",
        engine=engine,
    )
    assert {b["candidate"] for b in run.ballots.to_pylist() if b["cohort"] == "llm"} == {-1}
    assert run.summary["llm"]["by_kind"]["vote"] == {"fallback": 12}
    rates = [y["rate_0"] for y in run.years.to_pylist()]
    # the mechanical elect a model, which changes nothing
    np.testing.assert_allclose(rates, 0.3, rtol=1e-6)
    assert all(y["leader"].startswith("llm") for y in run.years.to_pylist()[1:])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return je.run(HYBRID, out=tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.parametrize(("year", "day"), [(0, None), (1, 2), (2, None), (3, 2)])
def test_a_killed_run_resumes_to_the_same_results(whole, tmp_path, year, day):
    killed = run_killed(HYBRID, tmp_path / "run", year=year, day=day)
    je.resume(killed)
    assert_same_run(killed, whole.path)
    for table in ("elections", "ballots"):
        assert getattr(je.load(killed), table).equals(getattr(whole, table))


def test_a_replay_is_the_same_run(whole, tmp_path):
    assert je.replay(whole.path, out=tmp_path / "again").equal


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("elections.eligible=[rich]", r"elections.eligible: 'rich'; no such cohort; one of"),
        ("elections.eligible=[]", r"elections.eligible: \[\]; one cohort at least"),
        ("elections.method=lottery", r"elections.method: 'lottery'; one of plurality, approval"),
        ("elections.candidates=0", r"elections.candidates: 0; .* \[1, 127\]"),
        ("elections.term_limit=0", r"elections.term_limit: 0; "),
        ("elections.retention=true", r"elections.retention: True; of a standing planner"),
        (
            "dynamics.skills.enabled=true",
            r"dynamics.skills.enabled: True; elections are held among people whose",
        ),
        ("devices=2", r"devices: 2; elections are held on one device"),
    ],
)
def test_mistakes_are_one_line(three, override, told):
    with pytest.raises(UserError, match=told) as error:
        je.run(three, overrides=[override])
    assert len(str(error.value).splitlines()) == 1
