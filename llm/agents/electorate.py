"""Workers who stand, vote and lead as a language model decides for their personas."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxecon.config.settings import Config
from jaxecon.kernels.preferences import REFERENCE_HOURS
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import YearObservation, changed_schedule
from jaxecon.planners.elections.electorate import Candidate, History, worker_name
from jaxecon.planners.elections.voting import NOBODY, VotingMethod
from llm.agents.facts import brackets_of, facts_of, rates_of
from llm.agents.workers import LLMWorkers
from llm.bridge import Bridge
from llm.decisions.candidacy import Candidacy, CandidacyObservation
from llm.decisions.election import PastYear
from llm.decisions.policy import Policy, PolicyObservation
from llm.decisions.vote import CandidateView, Vote, VoteObservation


class LLMElectorate:
    """The workers' electorate: a language model decides on candidacies, votes and policies.

    All candidacies of an election are one batch, all votes another. Implements
    jaxecon.planners.elections.electorate.Electorate.

    skills: of every cohort, by name, (n,) $/year per weekly hour.
    """

    def __init__(
        self, bridge: Bridge, workers: LLMWorkers, skills: Mapping[str, np.ndarray], config: Config
    ) -> None:
        self._bridge, self._workers, self._skills, self._config = bridge, workers, skills, config
        self._facts = facts_of(config)
        self._sizes = {name: len(skill) for name, skill in skills.items()}
        self._objectives = {c.name: c.objective for c in config.cohorts}
        self.cohorts = tuple(workers.personas)

    def stand(
        self, observation: YearObservation, history: History, asked: Mapping[tuple[str, int], bool]
    ) -> dict[tuple[str, int], tuple[float, ...] | None]:
        """The rates (k,) that each worker stands for.

        None for those who do not stand or gave no usable answer.
        """
        observations = [
            CandidacyObservation(
                **self._about("candidacy", observation, history, *who),
                leads=leads,
                max_change=self._config.planner.max_change,
            )
            for who, leads in asked.items()
        ]
        decisions = self._bridge.decide(Candidacy(), observations)
        return {
            who: None
            if decision.value is None
            else self._moved(observation.schedule, decision.value)
            for who, decision in zip(asked, decisions, strict=True)
        }

    def vote(
        self,
        observation: YearObservation,
        history: History,
        method: VotingMethod,
        candidates: tuple[Candidate, ...],
    ) -> dict[str, np.ndarray]:
        """Ballots (n, candidates) by cohort; all 0 where there was no usable answer."""
        everyone = [(name, agent) for name in self.cohorts for agent in range(self._sizes[name])]
        orders = [self._order(observation.year, *who, len(candidates)) for who in everyone]
        observations = [
            VoteObservation(
                **self._about("vote", observation, history, *who),
                method=method,
                candidates=tuple(self._standing(candidates[place], who) for place in order),
            )
            for who, order in zip(everyone, orders, strict=True)
        ]
        decisions = self._bridge.decide(Vote(), observations)
        ballots = {
            name: np.zeros((self._sizes[name], len(candidates)), np.int8) for name in self.cohorts
        }
        for (name, agent), order, decision in zip(everyone, orders, decisions, strict=True):
            for rank, number in enumerate(decision.value, 1):
                ballots[name][agent, order[number - 1]] = 1 if method == "approval" else rank
        return ballots

    def _order(self, year: int, cohort: str, agent: int, candidates: int) -> list[int]:
        """The order of the candidates on a voter's ballot.

        It is random, since models favour what they read first.
        """
        seed = (self._config.seed_of_draws, zlib.crc32(cohort.encode()), agent, year)
        return [int(place) for place in np.random.default_rng(seed).permutation(candidates)]

    def lead(
        self, observation: YearObservation, history: History, leader: Candidate
    ) -> tuple[float, ...]:
        """The rates (k,) that the elected worker sets.

        The rates in force stay where it gave no usable answer.
        """
        about = self._about("plan", observation, history, leader.cohort, leader.agent)
        seen = PolicyObservation(
            **about, announced=leader.rates, max_change=self._config.planner.max_change
        )
        (decision,) = self._bridge.decide(Policy(), [seen])
        return self._moved(observation.schedule, decision.value)

    def _moved(self, schedule: TaxSchedule, points: tuple[int, ...]) -> tuple[float, ...]:
        moved = changed_schedule(schedule, points, self._config.planner.max_change)
        return rates_of(moved.rates)

    def _standing(self, candidate: Candidate, voter: tuple[str, int]) -> CandidateView:
        """A candidate as a voter sees it."""
        cohort, agent, rates, incumbent = candidate
        pay = REFERENCE_HOURS * float(self._skills[cohort][agent]) if cohort else None
        return CandidateView(rates, pay, incumbent, (cohort, agent) == voter)

    def _about(
        self, decision: str, observation: YearObservation, history: History, cohort: str, agent: int
    ) -> dict[str, Any]:
        """What every question tells a worker about itself. decision: its kind."""
        own_year = {
            name: float(values[agent])
            for name, values in observation.agent_means[cohort].items()
            if name != "utility"
        }
        return {
            "year": observation.year + 1,
            "cohort": cohort,
            "agent": agent,
            "economy": self._facts,
            "brackets": brackets_of(observation.schedule),
            "persona": self._workers.personas[cohort][agent],
            "skill": float(self._skills[cohort][agent]),
            "history": self._years(history, cohort, agent),
            "objective": self._objectives[cohort],
            "style": self._config.llm.style_of(decision),
            **own_year,
        }

    def _years(self, history: History, cohort: str, agent: int) -> tuple[PastYear, ...]:
        leaders = np.asarray(history.leaders).tolist()
        rates, utility = (
            np.asarray(history.rates, float),
            np.asarray(history.utility[cohort], float),
        )
        return tuple(
            PastYear(
                year,
                self._called(leader, cohort, agent),
                tuple(round(r, 6) for r in rates[i].tolist()),
                float(utility[i, agent]),
            )
            for i, (year, leader) in enumerate(
                zip(np.asarray(history.years).tolist(), leaders, strict=True)
            )
            if year >= 0
        )

    def _called(self, leader: int, cohort: str, agent: int) -> str:
        if leader == NOBODY:
            return ""
        name = worker_name(leader, self._sizes)
        return "you" if name == f"{cohort} {agent}" else f"worker {name}"
