"""The bridge beside its engine: decisions per second, and the gain from batches and layout.

    python -m experiments.benchmarks.bridge [--workers 100] [--days 10] [--compared-days 3]
    [--null-only]

1. With a null engine, whose reply is always the same: decisions/s of the bridge, prompts, keys,
   transcript and parsing included.
2. With the real engine, a cohort with personas over some days: requests/s, the share of prompt
   tokens from the prefix cache, beside the share that whole blocks of earlier prompts would allow,
   and the bridge's own time as a share of the engine's.
3. The first of those days' prompts again, on an emptied cache: as the bridge sends them, one
   request at a time, and with the agent's own part before the rules.
"""

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.benchmarks.timing import describe_machine, report
from jaxecon.config.read import load_config
from jaxecon.config.settings import Config
from jaxecon.economy.build import build_economy
from jaxecon.kernels.equilibrium import settle
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.workers.base import Cohort
from llm.agents.workers import LLMWorkers
from llm.bridge import Bridge
from llm.engines.base import Engine, OnCompletion
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Message, Request, Sampling, Usage
from llm.prefix_cache import cachable_share
from llm.served import ServedModel
from llm.transcript.store import Transcript

if TYPE_CHECKING:
    from llm.engines.vllm import VLLMEngine


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--compared-days", type=int, default=3)
    parser.add_argument("--null-only", action="store_true")
    arguments = parser.parse_args()
    # as in a run: a GPU's memory is the engine's too
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    describe_machine()
    config = load_config(
        {
            "year": {"days": arguments.days},
            "population": {"mechanical": 0, "llm": arguments.workers},
        }
    )
    null_engine(config)
    if not arguments.null_only:
        real_engine(config, arguments.compared_days)


def null_engine(config: Config) -> None:
    reply = Completion('{"hours":40}', usage=Usage(300, 200, 6))
    rates = []
    gc.collect()
    gc.freeze()  # as a run does
    for _ in range(8):
        engine = Watched(ScriptedEngine(lambda request: reply), keep=False)
        decisions, seconds, _ = decide_a_year(config, engine)
        rates.append(decisions / seconds)
    report(
        benchmark="bridge",
        part="null engine",
        workers=config.population.llm,
        days=config.year.days,
        decisions_per_s=rates[1:],
    )


def real_engine(config: Config, compared_days: int) -> None:
    from llm.engines.vllm import VLLMEngine

    engine = VLLMEngine(model=config.llm.model, kv_cache_gib=config.llm.kv_cache_gib)
    try:
        watched = Watched(engine)
        decisions, seconds, bridge = decide_a_year(config, watched)
        used = bridge.usage
        report(
            benchmark="bridge",
            part="real engine",
            model=engine.identity["model"],
            dtype=engine.description["dtype"],
            workers=config.population.llm,
            days=config.year.days,
            requests=used.calls,
            fallbacks=used.fallbacks,
            requests_per_s=used.calls / watched.seconds,
            prompt_tokens_each=used.prompt_tokens / used.calls,
            cached_share=used.cached_tokens / used.prompt_tokens,
            cachable_share=cachable(engine, watched.batches),
            own_share_of_engine_time=(seconds - watched.seconds) / watched.seconds,
            decisions=decisions,
        )
        compare(engine, watched.batches[:compared_days])
    finally:
        engine.close()


def compare(engine: "VLLMEngine", days: Sequence[list[Request]]) -> None:
    count = sum(map(len, days))

    def timed(ask: Callable[[], list[Completion]]) -> tuple[float, float]:
        engine._llm.reset_prefix_cache()
        begun = time.perf_counter()
        replies = ask()
        rate = count / (time.perf_counter() - begun)
        cached = sum(r.usage.cached_tokens for r in replies) / sum(
            r.usage.prompt_tokens for r in replies
        )
        return rate, cached

    batched, cached = timed(lambda: [c for day in days for c in complete(engine, day)])
    alone, cached_alone = timed(
        lambda: [c for day in days for request in day for c in complete(engine, [request])]
    )
    turned, cached_turned = timed(
        lambda: [c for day in days for c in complete(engine, [agent_first(r) for r in day])]
    )
    report(
        benchmark="bridge",
        part="layout and batches",
        requests=count,
        requests_per_s=batched,
        one_at_a_time_per_s=alone,
        agent_first_per_s=turned,
        cached_share=cached,
        one_at_a_time_cached_share=cached_alone,
        agent_first_cached_share=cached_turned,
        times_the_slower=batched / min(alone, turned),
    )


def decide_a_year(config: Config, engine: "Watched") -> tuple[int, float, Bridge]:
    """Simulate a year of a cohort of LLM workers alone.

    Returns how many decisions that took, the seconds spent deciding, and the bridge.
    """
    economy = build_economy(config)
    (name,) = economy.cohorts
    cohort: Cohort = economy.cohorts[name]
    schedule = TaxSchedule.us_federal()
    spent = 0.0
    with tempfile.TemporaryDirectory() as folder:
        transcript = Transcript(Path(folder) / "transcript.sqlite")
        sampling = Sampling(config.llm.temperature, config.llm.top_p, config.llm.max_tokens)
        served = {name: ServedModel(engine, max_model_len=config.llm.max_model_len)}
        bridge = Bridge(
            served, transcript, seed=config.seed, sampling=sampling, retries=config.llm.retries
        )
        workers = LLMWorkers(bridge, {name: cohort}, config)
        rebate = float(economy.reference.rebate)
        for day in range(config.year.days):
            begun = time.perf_counter()
            hours = workers.decide(0, day, schedule, rebate)
            spent += time.perf_counter() - begun
            outcome = settle(
                schedule, hours[name].astype(np.float32), cohort.skill, cohort.preferences
            )
            rebate = float(outcome.rebate)
            workers.observe(0, day, {name: outcome}, 0.0)
        transcript.close()
    return config.year.days * cohort.size, spent, bridge


class Watched:
    """An engine, the seconds spent in it, and what it was asked."""

    def __init__(self, engine: Engine, *, keep: bool = True) -> None:
        self._engine, self._keep = engine, keep
        self.seconds = 0.0
        self.batches: list[list[Request]] = []

    @property
    def identity(self) -> dict[str, str]:
        return self._engine.identity

    @property
    def description(self) -> dict[str, Any]:
        return self._engine.description

    def prompt_tokens(self, request: Request) -> int:
        return self._engine.prompt_tokens(request)

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        if self._keep:
            self.batches.append(list(requests))
        begun = time.perf_counter()
        self._engine.complete(requests, on_completion=on_completion)
        self.seconds += time.perf_counter() - begun

    def close(self) -> None:
        self._engine.close()


def complete(engine: Engine, requests: list[Request]) -> list[Completion]:
    got: dict[int, Completion] = {}
    engine.complete(requests, on_completion=got.__setitem__)
    return [got[i] for i in range(len(requests))]


def agent_first(request: Request) -> Request:
    """The same chat, with the part that is the agent's own before the part that all share."""
    rules, own = request.messages
    return replace(request, messages=(Message("user", f"{own.content}\n{rules.content}"),))


def cachable(engine: "VLLMEngine", batches: Sequence[list[Request]]) -> float:
    """The share of prompt tokens that the engine's prefix cache can serve."""
    size = engine._llm.llm_engine.vllm_config.cache_config.block_size
    return cachable_share(
        (engine._tokens(request.messages) for batch in batches for request in batch), size
    )


if __name__ == "__main__":
    main()
