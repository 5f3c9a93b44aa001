"""The protocol of a kind of decision."""

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Value = TypeVar("Value")
Observation = TypeVar("Observation", bound="AnyObservation")
ObservationT = TypeVar("ObservationT", bound="AnyObservation", contravariant=True)


class AnyObservation(Protocol):
    """What every observation says: whose decision it is, and when (counted from 0)."""

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

    repaired: whether it was there in another form than the one asked for.
    """

    value: Value
    repaired: bool = False


class Unusable(ValueError):
    """A reply that holds no decision.

    The message is what the model is told when it is asked again.
    """


class DecisionKind(Protocol[ObservationT, Value]):
    """One kind of decision: how it is asked for, and how the reply is read.

    The bridge calls these methods for many agents at once, so they depend on the observation alone
    and keep no state.

    Attributes:
        name: The key in `llm.decisions.registry`, and how transcripts record the decision.
        template: The name of the template of its words.
        rules: The names of those values that all agents of a cohort share on a day. The template's
            system block sees no others, so that its text is shared too.
    """

    name: str
    template: str
    rules: tuple[str, ...]

    def values(self, observation: ObservationT) -> dict[str, Any]:
        """What the template is handed.

        Args:
            observation: what the agent knows.

        Returns:
            Values by name; those in `rules` are hashable.
        """
        ...

    def schema(self, observation: ObservationT) -> dict[str, Any]:
        """The JSON schema of the answer.

        Args:
            observation: what the agent knows.

        Returns:
            A bounded JSON schema. Equal ones are one shared object, which nobody changes.
        """
        ...

    def parse(self, text: str, observation: ObservationT) -> Parsed[Value]:
        """The decision in a reply.

        Args:
            text: what the model wrote; anything at all.
            observation: what the agent knows, such as the hours it may choose among.

        Returns:
            The decision, and whether it had to be repaired.

        Raises:
            Unusable: the reply holds no decision; the message tells the model why.
        """
        ...

    def fallback(self, observation: ObservationT) -> Value:
        """The decision that is taken where no reply can be used.

        Args:
            observation: what the agent knows.

        Returns:
            A decision that changes nothing: yesterday's hours, no change of the rates.
        """
        ...

    def tokens(self, observation: ObservationT) -> int:
        """How long the answer may be.

        Args:
            observation: what the agent knows.

        Returns:
            Tokens that the longest allowed answer needs.
        """
        ...

    def shorter(self, observation: ObservationT) -> Any:
        """The observation with less of its history, for a prompt that is too long for the model.

        Args:
            observation: what the agent knows.

        Returns:
            A shorter observation; None where there is nothing to leave out.
        """
        ...
