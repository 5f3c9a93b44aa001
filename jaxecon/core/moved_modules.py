"""The new paths of modules of version 0.1, for users' own rules that import an old path."""

from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "jaxecon.api": (
        "jaxecon.simulation.run, jaxecon.simulation.listeners, jaxecon.simulation.signals, "
        "jaxecon.simulation.state, jaxecon.simulation.prepare, jaxecon.planners.registry, "
        "jaxecon.simulation.language, jaxecon.core.installation, jaxecon.storage.provenance"
    ),
    "jaxecon.batch": "jaxecon.simulation.batch",
    "jaxecon.build": (
        "jaxecon.economy.build, jaxecon.economy.precision, jaxecon.economy.first_schedule, "
        "jaxecon.economy.blueprint, jaxecon.economy.microdata, jaxecon.planners.announced, "
        "jaxecon.planners.in_context, jaxecon.planners.elections.voting, "
        "jaxecon.economy.equilibrium"
    ),
    "jaxecon.checkpoint": "jaxecon.storage.checkpoint, jaxecon.storage.checkpoint_files",
    "jaxecon.chunks": (
        "jaxecon.sweeps.chunk, jaxecon.sweeps.task, jaxecon.sweeps.batch_points, "
        "jaxecon.sweeps.run_point, jaxecon.sweeps.rows"
    ),
    "jaxecon.comparison": "jaxecon.planners.appraisal",
    "jaxecon.compilation": "jaxecon.core.compilation",
    "jaxecon.continuing": (
        "jaxecon.simulation.resume, jaxecon.simulation.changes, jaxecon.simulation.replay, "
        "jaxecon.simulation.branch"
    ),
    "jaxecon.designs": "jaxecon.sweeps.design, jaxecon.sweeps.points",
    "jaxecon.digest": "jaxecon.storage.digest, jaxecon.storage.differences",
    "jaxecon.doctor": "jaxecon.cli.commands.doctor",
    "jaxecon.dynamics": "jaxecon.kernels.skills",
    "jaxecon.elasticity": "jaxecon.kernels.optimum.elasticity",
    "jaxecon.equilibrium": "jaxecon.kernels.equilibrium, jaxecon.kernels.roots",
    "jaxecon.errors": "jaxecon.core.errors",
    "jaxecon.figures": "jaxecon.report.schedules",
    "jaxecon.hosts": "jaxecon.core.processes",
    "jaxecon.labor": "jaxecon.kernels.labor, jaxecon.kernels.quantal",
    "jaxecon.leader": "jaxecon.kernels.optimum.problem",
    "jaxecon.locks": "jaxecon.core.locks",
    "jaxecon.planners.elected": (
        "jaxecon.planners.elections.elected, jaxecon.planners.elections.retained, "
        "jaxecon.planners.elections.electorate"
    ),
    "jaxecon.population": "jaxecon.economy.population, jaxecon.workers.base, jaxecon.economy.gb2",
    "jaxecon.preferences": "jaxecon.kernels.preferences",
    "jaxecon.random": "jaxecon.core.draws",
    "jaxecon.ray_executor": "jaxecon.sweeps.ray_executor",
    "jaxecon.records": (
        "jaxecon.storage.run, jaxecon.core.files, jaxecon.core.machine, "
        "jaxecon.storage.paths, jaxecon.storage.recorder, jaxecon.storage.tables, "
        "jaxecon.storage.provenance"
    ),
    "jaxecon.saez": (
        "jaxecon.kernels.optimum.saez, jaxecon.kernels.optimum.saez_one_rate, "
        "jaxecon.kernels.optimum.density, "
        "jaxecon.kernels.optimum.saez_fixed_point, jaxecon.kernels.optimum.saez_checks"
    ),
    "jaxecon.satisfaction": "jaxecon.kernels.satisfaction",
    "jaxecon.saving": "jaxecon.kernels.saving",
    "jaxecon.search": "jaxecon.kernels.optimum.search, jaxecon.kernels.optimum.space, "
    "jaxecon.kernels.optimum.objective",
    "jaxecon.sharding": "jaxecon.economy.devices",
    "jaxecon.signatures": "jaxecon.storage.failure_diagnostics",
    "jaxecon.spread": "jaxecon.economy.hours_spread",
    "jaxecon.stackelberg": "jaxecon.kernels.optimum.certified",
    "jaxecon.studies": "jaxecon.simulation.compare, jaxecon.simulation.optimum",
    "jaxecon.sweep": (
        "jaxecon.sweeps.sweep, jaxecon.sweeps.executor, jaxecon.sweeps.plan, "
        "jaxecon.sweeps.chunk_size, jaxecon.sweeps.folder, jaxecon.sweeps.listener, "
        "jaxecon.sweeps.results"
    ),
    "jaxecon.taxation": "jaxecon.kernels.taxation",
    "jaxecon.terminal": "jaxecon.cli.output, jaxecon.config.names",
    "jaxecon.voting": "jaxecon.planners.elections.voting, jaxecon.planners.elections.own_optima",
    "jaxecon.welfare": "jaxecon.kernels.welfare",
    "jaxecon.words": "jaxecon.core.text",
    "llm.election_prompts": (
        "llm.decisions.election, llm.decisions.candidacy, llm.decisions.policy, llm.decisions.vote"
    ),
    "llm.electorate": "llm.agents.electorate",
    "llm.engine": "llm.messages, llm.engines.base, jaxecon.core.errors, llm.transcript.keys",
    "llm.kinds": (
        "llm.decisions.base, llm.decisions.history, llm.decisions.labor, "
        "llm.decisions.rate_changes, llm.decisions.plan, llm.decisions.satisfaction, "
        "llm.decisions.persona, llm.decisions.candidacy, llm.decisions.vote, "
        "llm.decisions.policy"
    ),
    "llm.memory": "llm.agents.memory",
    "llm.models": "llm.engines.models",
    "llm.openai_engine": "llm.engines.openai.engine, llm.engines.openai.address",
    "llm.personas": "llm.agents.personas",
    "llm.planner": "llm.agents.planner",
    "llm.prompts": (
        "llm.decisions.shared, llm.decisions.labor, llm.decisions.plan, "
        "llm.decisions.satisfaction, llm.decisions.persona"
    ),
    "llm.replay": "llm.transcript.store, llm.engines.replayed, llm.transcript.rows",
    "llm.schemas": (
        "llm.decisions.replies, llm.decisions.base, llm.decisions.labor, "
        "llm.decisions.rate_changes, llm.decisions.candidacy, llm.decisions.vote, "
        "llm.decisions.satisfaction, llm.decisions.persona"
    ),
    "llm.scripted": "llm.engines.scripted",
    "llm.simulated_engine": "llm.engines.simulated",
    "llm.transcript_file": "llm.transcript.format, llm.transcript.pieces",
    "llm.vllm_engine": "llm.engines.vllm",
    "llm.workers": "llm.agents.workers",
}


class MovedModules:
    """An import finder, asked last, that says where the contents of a moved module are now.

    It never finds a module itself.
    """

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        """Raise ModuleNotFoundError, with the new path, if `name` is an old path."""
        if name in MOVED:
            raise ModuleNotFoundError(f"{name} has moved to {MOVED[name]}", name=name)
