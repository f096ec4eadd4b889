"""What every backend is: it gets one item's facts and returns one text, which nobody trusts yet."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from recsys.blurbs.prompt import Task
from recsys.blurbs.row import Source


@dataclass(frozen=True)
class Draft:
    """What a backend wrote. The gate decides whether anybody sees it."""

    text: str
    """``""`` where it has nothing to say."""
    used_facts: tuple[str, ...] = ()
    """Numbers of the facts that it says it used, see ``recsys.blurbs.prompt.numbered``."""
    tokens: int = 0
    """Tokens of the answer; 0 without a model."""
    fault: str = ""
    """Why this is no answer at all: ``cut_off`` by the limit on tokens, or ``bad_answer``."""


@runtime_checkable
class Backend(Protocol):
    """Writes blurbs; every call has one item, and what it writes for one never depends on another."""

    @property
    def model(self) -> str:
        """Model and revision, ``name@revision``."""
        ...

    @property
    def decoding(self) -> str:
        """How tokens are drawn, for the key."""
        ...

    @property
    def source(self) -> Source:
        """What its texts are."""
        ...

    @property
    def as_json(self) -> bool:
        """Whether it is asked for JSON."""
        ...

    @property
    def num_attempts(self) -> int:
        """Most times that it is asked for one text in a run; what is refused then waits for another run."""
        ...

    @property
    def canary(self) -> str:
        """A word that must not come back; ``""`` without a model."""
        ...

    async def write(self, task: Task) -> Draft:
        """Write one text.

        Raises:
            BlurbError: It cannot now.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...
