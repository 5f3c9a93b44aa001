"""What a kind of decision is."""

from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from llm.messages import DecisionKindName, Message

Value = TypeVar("Value")

Observation = TypeVar("Observation", bound="AnyObservation")

ObservationT = TypeVar("ObservationT", bound="AnyObservation", contravariant=True)


class AnyObservation(Protocol):
    """Every observation says whose decision it is, and when."""

    @property
    def year(self) -> int: ...
    @property
    def day(self) -> int: ...
    @property
    def cohort(self) -> str: ...
    @property
    def agent(self) -> int: ...


@dataclass(frozen=True)
class Parsed(Generic[Value]):
    """A decision read from a reply.

    repaired: it was there, though not in the form that was asked for.
    """

    value: Value
    repaired: bool = False


class DecisionKind(Protocol[ObservationT, Value]):
    """What the bridge needs to know of one kind of decision."""

    name: DecisionKindName

    def messages(self, observation: ObservationT) -> tuple[Message, ...]: ...
    def schema(self, observation: ObservationT) -> dict[str, Any]: ...
    def parse(self, text: str, observation: ObservationT) -> Parsed[Value]: ...
    def fallback(self, observation: ObservationT) -> Value: ...
    def tokens(self, observation: ObservationT) -> int:
        """What the longest allowed answer needs."""
        ...

    def shorter(self, observation: ObservationT) -> Any:
        """The observation with less of its history, for a prompt that is too long; None where there
        is no less.
        """
        ...


class Unusable(ValueError):
    """A reply that holds no decision.

    The message is what the model is told when it is asked again.
    """


Style = Literal["io", "cot"]
