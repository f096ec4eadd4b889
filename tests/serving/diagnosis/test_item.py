import json

import pytest

from recsys.errors import ConfigError
from recsys.schema import USER_ID
from recsys.workspace import Workspace
from serving.batch import recommend_queries, single_queries
from serving.diagnosis import ItemDiagnosis, diagnose_item
from tests.conftest import Trained
from tests.serving.diagnosis.conftest import MUG, SOLD_OUT
from tests.tiny_shop import CUT_MS, NEW_ITEM

ANN = "coffee-user0"


def says(found: ItemDiagnosis, words: str) -> bool:
    return any(words in finding for finding in found.findings)


@pytest.fixture(scope="module")
def arabica(odd: Workspace) -> ItemDiagnosis:
    """An item that the coffee drinkers buy."""
    return diagnose_item(odd, "coffee-1", num_users=40, user_id=ANN)


def test_an_item_that_sells_is_found_by_its_sources(arabica: ItemDiagnosis) -> None:
    entry, exposure = arabica.entry, arabica.exposure
    assert entry is not None
    assert exposure is not None
    assert (entry.title, entry.available, entry.has_words) == ("arabica coffee", True, True)
    assert entry.num_sharing_text == 0
    assert entry.popularity_rank is not None
    assert arabica.history.events["purchase"] > arabica.history.events["view"] > 0
    assert {reach.source for reach in arabica.reach if reach.can_offer} >= {"own", "text", "co_occurrence"}
    assert exposure.num_users == 40
    assert exposure.num_listed <= exposure.num_candidate
    assert set(exposure.by_source) <= {reach.source for reach in arabica.reach}
    assert exposure.best_rank == 1
    assert exposure.num_top > 0


def test_the_sample_counts_what_users_are_recommended(odd: Workspace, arabica: ItemDiagnosis) -> None:
    users = ["coffee-user1", "music-user1"]
    lists = recommend_queries(odd, single_queries(users, []), limit=1_000).lists
    ranks = [[item.item_id for item in ranked.items].index("coffee-1") + 1 for ranked in lists]
    found = [diagnose_item(odd, "coffee-1", num_users=1, user_id=user).user for user in users]
    assert [each.place.rank for each in found if each and each.place] == ranks
    assert arabica.exposure is not None
    assert arabica.exposure.median_rank is not None
    assert 1 <= arabica.exposure.median_rank <= 31


def test_a_user_may_be_looked_at_besides(arabica: ItemDiagnosis) -> None:
    user = arabica.user
    assert user is not None
    assert user.place is not None
    assert user.tenth is not None
    assert (user.user_id, user.removed_by, user.tenth.rank) == (ANN, (), 10)
    assert "own" in user.sources
    assert user.place.sources == user.sources
    assert user.place.score > user.tenth.score
    assert len(user.place.contributions) == 5
    assert says(arabica, f"For the user {ANN} it is number {user.place.rank}, offered by own")


def test_nobody_else_is_named(arabica: ItemDiagnosis, trained: Trained) -> None:
    document = arabica.to_json()
    others = set(trained.shop.history[USER_ID]) - {ANN}
    assert not {user_id for user_id in others if f'"{user_id}"' in document or f"{user_id} " in document}


def test_an_item_that_cannot_be_sold_is_taken_out_everywhere(odd: Workspace) -> None:
    found = diagnose_item(odd, SOLD_OUT, num_users=10, user_id=ANN)
    assert found.exposure is not None
    assert found.exposure.num_candidate > 0
    assert found.exposure.removed == {"unavailable": found.exposure.num_candidate}
    assert (found.exposure.num_listed, found.exposure.best_rank, found.exposure.median_rank) == (
        0,
        None,
        None,
    )
    assert found.findings[0] == "It is marked as not available: it is never shown."
    assert found.user is not None
    assert (found.user.removed_by, found.user.place) == (("unavailable",), None)
    assert says(found, f"For the user {ANN} it is taken out: unavailable.")


def test_an_item_that_nobody_touched_can_be_found_by_its_words_alone(odd: Workspace) -> None:
    found = diagnose_item(odd, NEW_ITEM, num_users=5)
    can_offer = {reach.source: reach.can_offer for reach in found.reach}
    assert can_offer["text"]
    assert not any(can_offer[source] for source in ("own", "co_occurrence", "popular", "adopted", "trending"))
    assert found.entry is not None
    assert found.entry.popularity_rank is None
    assert found.history.num_users == 0
    assert says(found, "Nobody ever touched it.")
    assert says(found, "popular cannot offer it")


def test_an_item_that_came_after_the_training_asks_for_another(odd: Workspace) -> None:
    found = diagnose_item(odd, MUG)
    assert (found.entry, found.exposure, found.reach) == (None, None, ())
    assert found.history.events == {"purchase": 2, "view": 1}
    assert len(found.findings) == 1
    assert found.findings[0].endswith("train again.")


def test_an_item_that_nobody_knows_is_said_to_be_unknown(odd: Workspace) -> None:
    assert says(diagnose_item(odd, "unicorn"), "neither the catalogue nor the log holds this id")


def test_the_sample_is_the_same_again_and_json_is_whole(odd: Workspace) -> None:
    first, second = (diagnose_item(odd, "paint-3", num_users=7).to_json() for _ in range(2))
    assert first == second
    document = json.loads(first)
    assert document["exposure"]["num_users"] == 7
    assert document["user"] is None


def test_an_earlier_moment_knows_fewer_events(later: Workspace) -> None:
    before = diagnose_item(later, "coffee-1", at_ms=CUT_MS, num_users=1)
    after = diagnose_item(later, "coffee-1", num_users=1)
    assert sum(before.history.events.values()) < sum(after.history.events.values())


@pytest.mark.parametrize("placement", ["basement", "similar_items"])
def test_a_placement_must_be_known_and_start_from_a_user(odd: Workspace, placement: str) -> None:
    with pytest.raises(ConfigError, match=placement):
        diagnose_item(odd, "coffee-1", placement=placement)
