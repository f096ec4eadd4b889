"""Tests of texts whose items change: what still fits stays, without any model."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recsys.blurbs.entry import Entry
from recsys.blurbs.facts import Facts
from recsys.blurbs.generator import Generator
from recsys.blurbs.revalidation import Revalidation
from recsys.blurbs.verdict import Reason, Verdict
from tests.recsys.blurbs.bench import FACTS, NOON, SLOT, SPOON, Clock, config, generator
from tests.recsys.blurbs.scripted_server import said, scripted_server

_DAY_MS = 86_400_000


class MaterialGate:
    """Lets through what names a material that the facts have."""

    def __init__(self, version: str = "w1") -> None:
        self.version = version

    def check(
        self,
        facts: Facts,
        text: str,
        language: str,  # noqa: ARG002  # as the gate has it
        others: Sequence[str] = (),  # noqa: ARG002  # as the gate has it
    ) -> Verdict:
        known = any(fact.value in text for fact in facts.attributes if fact.attribute == "material")
        return Verdict.of([] if known else [Reason("unsupported", text)])


def checked(
    path: Path, changes: dict[str, Any], days: float = 0, gate: str = "w1"
) -> tuple[bool, Entry | None, bool]:
    """Whether a text was due and what its slot shows after the item changed and time went by."""
    clock = Clock()

    async def scenario(url: str) -> tuple[bool, Entry | None, bool]:
        async with generator(path / "b.sqlite", config(url), clock=clock) as maker:
            assert isinstance(maker, Generator)
            entry = await maker.make(FACTS, SLOT)
            assert entry is not None
            clock.ms += round(days * _DAY_MS)
            facts = Facts.of(SPOON | changes)
            again = Revalidation(
                maker.book, MaterialGate(gate), config(url), now_ms=clock, draw=random.Random(0)
            )
            is_due = again.is_due(entry, facts)
            stays = again.check(entry, facts)
            return is_due, maker.book.approved(SLOT), stays

    with scripted_server(lambda _: said("A spoon of beech.")) as server:
        return asyncio.run(scenario(server.url))


def test_a_text_stays_when_a_fact_changes_that_it_does_not_use(tmp_path: Path) -> None:
    changed: dict[str, Any] = {"attributes": {"material": "beech", "length": "25 cm"}}
    is_due, shown, stays = checked(tmp_path, changed)
    assert is_due
    assert stays
    assert shown is not None
    assert shown.checked_hash == Facts.of(SPOON | changed).content_hash
    assert shown.fresh_until <= NOON
    assert shown.stale_until > NOON + 20 * _DAY_MS


def test_a_text_goes_when_a_fact_changes_that_it_uses(tmp_path: Path) -> None:
    is_due, shown, stays = checked(tmp_path, {"attributes": {"material": "steel"}})
    assert (is_due, shown, stays) == (True, None, False)


def test_a_text_that_is_old_is_fresh_again_when_it_still_fits(tmp_path: Path) -> None:
    is_due, shown, stays = checked(tmp_path, {}, days=8)
    assert is_due
    assert stays
    assert shown is not None
    assert shown.fresh_until > NOON + 14 * _DAY_MS


def test_a_new_gate_checks_what_the_old_one_let_through(tmp_path: Path) -> None:
    is_due, shown, stays = checked(tmp_path, {}, gate="w2")
    assert (is_due, stays) == (True, True)
    assert shown is not None
    assert shown.request.gate_version == "w2"


def test_a_fresh_text_whose_price_changed_is_not_even_checked(tmp_path: Path) -> None:
    assert not checked(tmp_path, {"price": 9.0})[0]
