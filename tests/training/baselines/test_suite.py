import polars as pl
import pytest
from structlog.testing import capture_logs

from recsys.errors import ConfigError
from recsys.schema import EFFECTIVE_TIME, EVENT_TIME
from tests.tiny_shop import CUT_MS, TEST_DAYS, tiny_shop
from tests.training.baselines.small_log import NOW, history_of, items_of
from training.baselines import ALL, CHEAP, Compared, compare, parse_names
from training.baselines.searches import STRONG


@pytest.fixture(scope="module")
def shop_history() -> pl.DataFrame:
    shop = tiny_shop()
    return pl.concat([shop.history, shop.future]).with_columns(pl.col(EVENT_TIME).alias(EFFECTIVE_TIME))


@pytest.fixture(scope="module")
def compared(shop_history: pl.DataFrame) -> dict[str, Compared]:
    users = pl.Series(sorted(tiny_shop().withheld))
    names = [name for name in ALL if name != "click_rate"]
    return compare(shop_history, users, CUT_MS, names=names, window_days=TEST_DAYS, depth=5)


def test_names_are_given_with_commas_or_as_all() -> None:
    assert parse_names("all") == ALL == (*CHEAP, *STRONG)
    assert parse_names("ease,  popular") == ("ease", "popular")
    with pytest.raises(ConfigError, match="svd"):
        parse_names("ease,svd")


def test_every_named_baseline_gives_both_kinds_of_lists(compared: dict[str, Compared]) -> None:
    assert list(compared) == [name for name in ALL if name != "click_rate"]
    for found in compared.values():
        assert {"all", "novel"} == found.settings.keys()
        assert found.all["rank"].max() == found.novel["rank"].max() == 5
        assert found.all["user_id"].n_unique() == len(tiny_shop().withheld)


@pytest.mark.parametrize("name", [name for name in STRONG if name != "click_rate"])
def test_the_tuned_baselines_find_the_withheld_item(name: str, compared: dict[str, Compared]) -> None:
    withheld = tiny_shop().withheld
    firsts = {user: items_of(compared[name].novel, user)[0] for user in withheld}
    assert firsts == withheld


def test_only_what_was_asked_for_is_made(shop_history: pl.DataFrame) -> None:
    found = compare(shop_history, pl.Series(["nobody"]), CUT_MS, names=("popular",))
    assert list(found) == ["popular"]


def test_the_click_rate_needs_impressions_and_is_left_out_without() -> None:
    events = [("a", "x", age) for age in (1.0, 10.0, 40.0, 50.0)] + [("b", "y", 35.0)]
    history = history_of(*events)
    users = pl.Series(["a", "b"])
    with capture_logs() as logs:
        assert compare(history, users, NOW, names=("click_rate",)) == {}
    assert [entry["baseline"] for entry in logs] == ["click_rate"]
    shown = history_of(("a", "y", 30), ("b", "x", 45), event_type="impression")
    found = compare(pl.concat([history, shown]), users, NOW, names=("popular", "click_rate"))
    assert list(found) == ["popular", "click_rate"]
    # an impression is nothing that the user had
    assert items_of(found["popular"].novel, "b") == ["x"]


def test_a_log_that_is_too_short_leaves_a_baseline_out_and_says_so() -> None:
    history = history_of(*(("a", "x", age) for age in (1.0, 10.0, 40.0, 50.0)), ("b", "y", 35.0))
    with capture_logs() as logs:
        found = compare(history, pl.Series(["a"]), NOW, names=("ease", "two_stage_lightgbm"))
    assert list(found) == ["ease"]
    assert "label windows" in logs[0]["reason"]
