"""Which experiments' arms are answered by another model than theirs, counted and said once."""

import structlog

_log = structlog.get_logger(__name__)


class Substitutions:
    """Notes requests whose arm's model is not in memory; all methods are for the event loop's thread."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        """Requests by experiment, since the start."""
        self._told: set[tuple[str, str]] = set()

    def note(self, experiment: str, model: str) -> None:
        """Count one; the first one of a model is a warning in the log."""
        self.counts[experiment] = self.counts.get(experiment, 0) + 1
        if (experiment, model) in self._told:
            return
        self._told.add((experiment, model))
        _log.warning(
            "an arm's model is not in memory, so the stable one answers; its lists say so",
            experiment=experiment,
            model=model,
        )
