from math import ceil

import polars as pl

from training.slices import ACTIVITY, losses, never_below, slices


def pairs(**items: str) -> pl.DataFrame:
    rows = [(user, item) for user, chosen in items.items() for item in chosen]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String}, orient="row")


def test_known_users_are_divided_by_how_many_items_they_had_and_ties_by_id() -> None:
    history = pairs(d="xyz", a="x", b="xy", c="xy", other="xyzw")
    truth = pairs(a="x", b="x", c="x", d="x", new="x")
    found = {part.name: set(part.truth["user_id"]) for part in slices(truth, history, pl.Series(["x"]))}
    assert [found[name] for name in ACTIVITY] == [{"a", "b"}, {"c"}, {"d"}]
    assert found["new_users"] == {"new"}


def test_the_thirds_are_of_equal_size_for_any_number_of_users() -> None:
    for number in range(1, 8):
        users = [f"u{i}" for i in range(number)]
        history = pairs(**{user: "abcdefgh"[: i + 1] for i, user in enumerate(users)})
        parts = slices(history, history, history["item_id"])[-3:]
        sizes = [part.truth["user_id"].n_unique() for part in parts]
        assert sum(sizes) == number
        assert max(sizes) <= ceil(number / 3)


def test_a_pair_had_twice_counts_once() -> None:
    history = pairs(a="xxx", b="xy", c="xyz")
    found = {
        part.name: part.truth["user_id"].to_list() for part in slices(history, history, pl.Series(["x"]))
    }
    assert set(found["light_users"]) == {"a"}


def test_only_an_interval_wholly_below_zero_is_a_loss() -> None:
    def difference(low: float, value: float, high: float) -> dict[str, float]:
        return {"low": low, "value": value, "high": high}

    compared = {
        "all": {"popular": difference(-0.2, -0.1, 0.0), "ease": difference(-0.3, -0.2, -0.1)},
        "novel": {"ease": difference(-0.6, -0.5, -0.4), "popular": difference(0.1, 0.2, 0.3)},
    }
    assert [(row["slice"], row["baseline"]) for row in losses(compared)] == [
        ("novel", "ease"),
        ("all", "ease"),
    ]
    watched = never_below(compared)
    assert watched["ok"] is True
    assert [(row["slice"], row["baseline"]) for row in watched["checked"]] == [
        ("all", "popular"),
        ("novel", "popular"),
    ]
    assert watched["below"] == []
    fallen = never_below(compared, floor=["ease", "popular"])
    assert fallen["ok"] is False
    assert fallen["below"] == losses(compared)
    assert len(fallen["checked"]) == 4
    assert never_below({"all": {"ease": difference(0.0, 0.0, 0.0)}}) == {
        "ok": False,
        "below": [],
        "checked": [],
    }
