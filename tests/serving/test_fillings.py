"""Whoever fills the states does so alone, until it has not been heard of for a while."""

from pathlib import Path

import pytest

from recsys.errors import StoreError
from serving.fillings import LEASE_SECONDS, Fillings, were_begun


class Watch:
    """Tells the seconds that it is set to."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_filling_counts_from_when_it_is_complete_until_the_next_is_begun(tmp_path: Path) -> None:
    fillings = Fillings(tmp_path)
    assert not were_begun(tmp_path)
    assert fillings.footing() is None
    first = fillings.begin()
    assert first is not None
    assert were_begun(tmp_path)
    assert fillings.complete == 0
    assert fillings.footing() is None
    assert Fillings(tmp_path).begin() is None
    first.finish(1, "here")
    footing = fillings.footing()
    assert footing is not None
    assert (footing.number, footing.base, footing.server) == (1, 1, "here")
    footing.require()
    assert Fillings(tmp_path).begin() is not None
    with pytest.raises(StoreError, match="filled anew"):
        footing.require()


def test_one_that_is_given_up_is_followed_by_another_at_once(tmp_path: Path) -> None:
    first = Fillings(tmp_path).begin()
    assert first is not None
    first.give_up()
    second = Fillings(tmp_path).begin()
    assert second is not None
    assert second.number == 2


def test_one_that_is_not_renewed_is_overtaken_and_can_do_nothing_any_more(tmp_path: Path) -> None:
    watch = Watch()
    first, other = Fillings(tmp_path).begin(), Fillings(tmp_path, watch)
    assert first is not None
    assert other.begin() is None
    watch.seconds = LEASE_SECONDS
    first.renew()
    assert other.begin() is None
    watch.seconds = 2 * LEASE_SECONDS
    second = other.begin()
    assert second is not None
    assert second.number == 2
    first.renew()
    first.give_up()
    for late in (first.footing.require, lambda: first.finish(1, "here")):
        with pytest.raises(StoreError):
            late()
    second.footing.require()
    second.finish(2, "here", "doubt")
    assert other.doubt == "doubt"
    other.remove_doubt()
    assert not other.doubt
    assert (footing := other.footing()) is not None
    assert footing.base == 2
    assert other.complete == 2
    assert [mark.name for mark in tmp_path.glob("*/*")] == ["2"]


def test_whoever_was_stopped_before_its_mark_takes_no_number_that_others_ended(tmp_path: Path) -> None:
    class Stopped(Fillings):
        def _last(self) -> str:
            found = super()._last()
            if (other := Fillings(tmp_path).begin()) is not None:  # while this one was stopped
                other.finish(1, "here")
            return found

    assert Stopped(tmp_path).begin() is None
    assert Fillings(tmp_path).complete == 1
