"""What language models did and cost in a run, and the budget for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxecon.core.errors import BudgetSpent
from jaxecon.storage.usage import LLMUsage


class Accounts:
    """Usage by cohort and kind of decision, and seconds of waiting by kind.

    The accounts themselves have no seconds, since engines serve all cohorts at once.

    Args:
        budget_tokens: prompt and completion tokens that may be used.
        budget_usd: dollars, likewise.
    """

    def __init__(self, budget_tokens: int | None = None, budget_usd: float | None = None) -> None:
        self._budget_tokens, self._budget_usd = budget_tokens, budget_usd
        self._accounts: dict[tuple[str, str], LLMUsage] = {}
        self._seconds: dict[str, float] = {}

    def of(self, cohort: str, kind: str) -> LLMUsage:
        """The usage on behalf of a cohort for one kind of decision."""
        return self._accounts.get((cohort, kind), LLMUsage())

    @property
    def usage(self) -> LLMUsage:
        """The usage of all language models so far."""
        waited = LLMUsage(seconds=sum(self._seconds.values()))
        return sum(self._accounts.values(), waited)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds spent waiting for engines, by kind of decision."""
        return dict(self._seconds)

    @property
    def statuses(self) -> dict[str, dict[str, int]]:
        """Numbers of decisions by status, by kind."""
        by_kind: dict[str, dict[str, int]] = {}
        for (_, kind), account in self._accounts.items():
            counts = by_kind.setdefault(kind, {})
            for status, count in account.statuses.items():
                counts[status] = counts.get(status, 0) + count
        return by_kind

    def add(self, cohort: str, kind: str, usage: LLMUsage) -> None:
        """Add usage to an account.

        No lock is needed: one engine, in one thread, serves a cohort.
        """
        self._accounts[cohort, kind] = self.of(cohort, kind) + usage

    def add_seconds(self, kind: str, seconds: float) -> None:
        """Add time that was spent waiting for engines."""
        self._seconds[kind] = self._seconds.get(kind, 0.0) + seconds

    def check_budget(self) -> None:
        """Raise BudgetSpent where a budget is used up."""
        used = self.usage
        tokens = used.prompt_tokens + used.completion_tokens
        if self._budget_tokens is not None and tokens >= self._budget_tokens:
            raise BudgetSpent(
                f"llm.budget_tokens: {self._budget_tokens:,} are spent ({tokens:,} used)"
            )
        if self._budget_usd is not None and used.dollars >= self._budget_usd:
            raise BudgetSpent(
                f"llm.budget_usd: {self._budget_usd:g} are spent ({used.dollars:.4f} used)"
            )

    def as_json(self) -> list[dict[str, Any]]:
        """All accounts, without seconds."""
        return [
            {
                "cohort": cohort,
                "kind": kind,
                **{name: value for name, value in vars(account).items() if name != "seconds"},
                "statuses": dict(account.statuses),
            }
            for (cohort, kind), account in self._accounts.items()
        ]

    def restore(self, accounts: Sequence[Mapping[str, Any]], seconds: Mapping[str, float]) -> None:
        """Continue counting from earlier values of `as_json` and `seconds`."""
        self._seconds = dict(seconds)
        self._accounts = {
            (account["cohort"], account["kind"]): LLMUsage(
                **{name: value for name, value in account.items() if name not in ("cohort", "kind")}
            )
            for account in accounts
        }
