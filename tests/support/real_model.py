"""Requests for the real local model."""

from typing import Any

from llm.decisions.labor import labor_schema
from llm.messages import Draw, Message, Request, Sampling

HOURS = labor_schema(tuple(range(0, 101, 10)))
RULES = (
    "You are a worker who earns wages. "
    + "Income is skill times hours. Taxes are taken by bracket. Work costs effort. " * 12
)


def ask(
    text: str, *, agent: int = 0, schema: dict[str, Any] | None = HOURS, max_tokens: int = 16
) -> Request:
    messages = (Message("system", RULES), Message("user", text))
    return Request(
        messages, schema, Sampling(0.7, 1.0, max_tokens), Draw(0, "labor", 0, 0, "workers", agent)
    )


def workers(count: int, day: int = 0) -> list[Request]:
    return [
        ask(
            f"You are worker {i} on day {day}. How many hours do you work? Answer in JSON.", agent=i
        )
        for i in range(count)
    ]
