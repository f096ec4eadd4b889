from recsys.answer import RankedItem, RankedList, ServiceLevel
from serving.shadow import Agreement, compare


def ranked(**scores: float) -> RankedList:
    items = tuple(RankedItem(item_id, score, ()) for item_id, score in scores.items())
    return RankedList(items=items, service_level=ServiceLevel.FULL, model_version="v")


def test_lists_are_compared_by_what_both_hold() -> None:
    served, shadow = ranked(a=3.0, b=2.0, c=1.0, d=0.0), ranked(b=2.5, a=3.5, e=0.0)
    assert compare(served, shadow) == (0.5, 1.0, 0.5)
    assert compare(served, served) == (1.0, 0.0, 0.0)
    assert compare(served, ranked(e=1.0)) == (0.0, 0.0, 0.0)
    assert compare(ranked(), served) is None


def test_agreement_is_the_average_of_its_comparisons() -> None:
    found = Agreement().and_one(1.0, 0.0, 0.5).and_one(0.5, 2.0, -0.5)
    assert (found.num_compared, found.overlap, found.rank_difference, found.score_drift) == (
        2,
        0.75,
        1.0,
        0.0,
    )
