"""Two models that draft one list together, where an experiment interleaves its arms."""

from dataclasses import dataclass, field

import structlog

from recsys.answer import Query, RankedList
from recsys.experiments.book import Interleaving
from recsys.experiments.drafted_list import drafted_list
from recsys.experiments.interleaving import draft_seed
from serving.lists import new_list_id
from serving.ranking_pipeline import RankingPipeline

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Interleaved:
    """Ranks with both arms' pipelines, one after the other, and drafts a list from theirs.

    Where both arms have the same model, or the second one fails, the first one's list is the answer; it has
    no policy of a draft, so that nothing is credited to anybody.
    """

    a: RankingPipeline
    b: RankingPipeline
    interleaving: Interleaving
    list_id: str = field(default_factory=new_list_id)
    """Of the list that is made; with the subject and the experiment's salt it gives the coins."""

    def __call__(self, query: Query) -> RankedList:
        """The drafted list; any thread may call."""
        first = self.a.recommend(query)
        if self.a is self.b:
            return first
        try:
            second = self.b.recommend(query)
        except Exception as error:  # noqa: BLE001  # a model on trial may not fail an answer
            _log.warning("the second model of an interleaved list cannot answer", reason=repr(error))
            return first
        seed = draft_seed(self.interleaving.salt, query.subject, self.list_id)
        return drafted_list(
            first,
            second,
            experiment=self.interleaving.experiment,
            seed=seed,
            limit=query.limit,
            knows=self.a.knows_item,
        )
