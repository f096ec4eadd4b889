"""What a generator has done so far."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What a run came to."""

    states: Counter[str] = field(default_factory=Counter)
    """Blurbs by the state that they ended in."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Refusals by the gate's code; several attempts and several reasons count each."""
    num_drafts: int = 0
    num_passed: int = 0
    tokens: int = 0
    backend_seconds: float = 0.0
    """Time within the backend, added up over calls at once."""
