"""What a served list says of experiments: whose arms it shows, and whether it really does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ArmRecord:
    """The arms of one list, the same on all its pages."""

    arms: tuple[tuple[str, str], ...] = ()
    """Pairs of experiment and arm, of those experiments that could change the list."""
    versions: tuple[int, ...] = ()
    """Which version of its definition each of ``arms`` comes from."""
    forced: tuple[str, ...] = ()
    """Experiments whose arm was given by hand."""
    substituted: tuple[str, ...] = ()
    """Experiments whose arm's model was not in memory, so that the stable one answered."""


NO_ARMS = ArmRecord()
"""Of a list that no experiment could change."""
