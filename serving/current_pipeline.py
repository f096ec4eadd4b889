"""The pipeline of a process that serves one model: whoever needs it asks here, so that it can be replaced."""

from collections.abc import Sequence

from serving.engine import RankingPipeline


class CurrentPipeline:
    """One pipeline at a time; reading it costs nothing, replacing it is for the event loop's thread."""

    def __init__(self, pipeline: RankingPipeline) -> None:
        self.pipeline = pipeline

    def all(self) -> list[RankingPipeline]:
        """Every pipeline that answers: this one."""
        return [self.pipeline]

    def replace(self, old: RankingPipeline, new: RankingPipeline) -> bool:
        """Let one answer instead of another; false when that one is not there any more."""
        if self.pipeline is not old:
            return False
        self.pipeline = new
        return True

    def items(self, item_ids: Sequence[str]) -> list[dict[str, object]]:
        """Catalogue rows of known items."""
        return self.pipeline.items(item_ids)

    def knows_item(self, item_id: str) -> bool:
        """Whether the catalogue holds an item."""
        return self.pipeline.knows_item(item_id)

    def record(self, item_id: str, event_type: int, time_ms: int) -> None:
        """Count an event in the item's aggregates."""
        self.pipeline.record(item_id, event_type, time_ms)
