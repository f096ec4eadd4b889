"""What a run over the shop came to, and what it cost."""

import resource
import sys
from collections import Counter
from dataclasses import dataclass, field

from recsys.blurbs.entry import State


@dataclass
class Tally:
    """Counts while a run lasts."""

    states: Counter[str] = field(default_factory=Counter)
    """Blurbs by the state that they ended in."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Refusals by the gate's code; several attempts and several reasons count each."""
    num_drafts: int = 0
    num_passed: int = 0
    tokens: int = 0
    backend_seconds: float = 0.0
    """Time within the backend, added up over calls at once."""


@dataclass(frozen=True)
class RunReport:
    """What a run came to."""

    model: str
    num_checked_again: int
    num_queued: int
    states: dict[str, int]
    reasons: dict[str, int]
    pass_rate: float
    """Share of the drafts that the gate let through; 0 without any."""
    seconds: float
    seconds_per_approved: float
    """0 where nothing was approved."""
    tokens_per_second: float
    peak_memory_mb: float
    stopped: str
    """Why the run ended before its work did; ``""`` when it did not."""

    @classmethod
    def of(
        cls,
        tally: Tally,
        model: str,
        *,
        num_checked_again: int,
        num_queued: int,
        seconds: float,
        stopped: str,
    ) -> "RunReport":
        """Work out what follows from the counts; memory is this process's."""
        num_approved = tally.states[State.APPROVED]
        return cls(
            model=model,
            num_checked_again=num_checked_again,
            num_queued=num_queued,
            states=dict(tally.states.most_common()),
            reasons=dict(tally.reasons.most_common()),
            pass_rate=tally.num_passed / tally.num_drafts if tally.num_drafts else 0.0,
            seconds=seconds,
            seconds_per_approved=seconds / num_approved if num_approved else 0.0,
            tokens_per_second=tally.tokens / seconds if seconds else 0.0,
            peak_memory_mb=_peak_memory_mb(),
            stopped=stopped,
        )


def _peak_memory_mb() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # bytes there, KiB elsewhere
