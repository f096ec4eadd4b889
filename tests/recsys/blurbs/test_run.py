"""Tests of a run over a shop, with a real server, and of the commands around it."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recsys.blurbs.book import Book
from recsys.blurbs.book_file import BOOK_FILE
from recsys.blurbs.commands import blurbs
from recsys.blurbs.revocation import revoke, switch
from recsys.blurbs.row import BlurbSlot, Source
from recsys.blurbs.run import generate_blurbs
from recsys.blurbs.run_report import RunReport
from recsys.blurbs.wanted import WANTED_FILE, WantedBlurbs
from recsys.errors import ConfigError
from recsys.workspace import Workspace
from tests.recsys.blurbs.bench import WordGate, config
from tests.recsys.blurbs.scripted_server import Answer, said, scripted_server

NAMES = ("spoon", "fork", "knife", "plate", "bowl", "cup")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    rows = [
        {
            "item_id": name,
            "title": f"Beech {name}",
            "category": ["Kitchen"],
            "description": f"A {name} of beech for every day in the kitchen.",
            "material": "beech",
        }
        for name in NAMES
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def describe(body: dict[str, Any]) -> Answer:
    content = body["messages"][-1]["content"]
    (name,) = [name for name in NAMES if f"title: Beech {name}" in content]
    return said(f"A {name} made of beech.", "1")


@contextmanager
def opened(workspace: Workspace) -> Iterator[Book]:
    with closing(Book(workspace.state / BOOK_FILE)) as book:
        yield book


def run(tmp_path: Path, shop: Path, url: str, limit: int = 100, **settings: Any) -> RunReport:
    return generate_blurbs(
        Workspace(tmp_path), config(url, **settings), items_file=shop, limit=limit, checks=WordGate()
    )


def test_a_run_is_bounded_and_the_next_one_goes_on(tmp_path: Path, shop: Path) -> None:
    with scripted_server(describe) as server:
        first = run(tmp_path, shop, server.url, limit=4)
        second = run(tmp_path, shop, server.url)
        third = run(tmp_path, shop, server.url)
        assert len(server.requests) == len(NAMES)
    assert [report.states.get("approved", 0) for report in (first, second, third)] == [4, 2, 0]
    assert (first.pass_rate, first.stopped, first.model) == (1.0, "", "m@unknown")
    assert first.tokens_per_second > 0
    assert first.peak_memory_mb > 0
    with opened(Workspace(tmp_path)) as book:
        shown = book.approved(BlurbSlot("spoon", "en"))
    assert shown is not None
    assert shown.text == "A spoon made of beech."


def test_what_is_refused_is_counted_by_reason(tmp_path: Path, shop: Path) -> None:
    with scripted_server(lambda _: said("false")) as server:
        report = run(tmp_path, shop, server.url)
        again = run(tmp_path, shop, server.url)
    assert report.reasons == {"number": 2 * len(NAMES)}
    assert report.states == {"rejected": len(NAMES), "approved, shop's own words": len(NAMES)}
    assert again.states == {}


def test_a_changed_item_gets_a_new_text_and_the_old_one_stays_meanwhile(tmp_path: Path, shop: Path) -> None:
    with scripted_server(describe) as server:
        run(tmp_path, shop, server.url)
        shop.write_text(shop.read_text(encoding="utf-8").replace("A spoon of", "One spoon of"), "utf-8")
        report = run(tmp_path, shop, server.url)
        assert len(server.requests) == len(NAMES) + 1
    assert (report.num_checked_again, report.states) == (1, {"approved": 1})


def test_own_words_do_not_take_the_place_of_a_models(tmp_path: Path, shop: Path) -> None:
    with scripted_server(describe) as server:
        run(tmp_path, shop, server.url)
        assert run(tmp_path, shop, server.url, backend="extractive").states == {}


def test_a_server_that_is_away_stops_the_run_and_nothing_is_lost(tmp_path: Path, shop: Path) -> None:
    report = run(tmp_path, shop, "http://127.0.0.1:9/v1")
    assert "did not answer" in report.stopped or "in a row" in report.stopped
    with scripted_server(describe) as server:
        assert run(tmp_path, shop, server.url).states == {"approved": len(NAMES)}


def test_what_is_off_or_withdrawn_is_not_written(tmp_path: Path, shop: Path) -> None:
    with scripted_server(describe) as server:
        run(tmp_path, shop, server.url)
        with opened(Workspace(tmp_path)) as book:
            revoke(book, "item", "spoon", 1, "anna")
            revoke(book, "item", "fork", 1, "anna")
            switch(book, "item", "spoon", 1, "anna", on=False)
        assert run(tmp_path, shop, server.url).states == {}
        report = run(tmp_path, shop, server.url, model="other")
    with opened(Workspace(tmp_path)) as book:
        assert book.approved(BlurbSlot("spoon", "en")) is None
        shown = book.approved(BlurbSlot("fork", "en"))
    assert report.reasons == {"withdrawn_text": 2}
    assert shown is not None
    assert shown.source is Source.EXTRACTIVE


def test_a_segment_that_nobody_configured_is_refused(tmp_path: Path, shop: Path) -> None:
    with pytest.raises(ConfigError, match="expected a segment of budget"):
        generate_blurbs(Workspace(tmp_path), config(), items_file=shop, segment="rich", checks=WordGate())


def test_a_language_without_a_lexicon_is_refused_before_anything_is_asked(tmp_path: Path, shop: Path) -> None:
    settings = config(languages=("en", "fr"))
    with pytest.raises(ConfigError, match="expected languages of de, en, zh, got fr"):
        generate_blurbs(Workspace(tmp_path), settings, items_file=shop)
    assert not (tmp_path / "state" / BOOK_FILE).exists()


def test_the_commands_write_withdraw_and_switch(tmp_path: Path, shop: Path) -> None:
    def asked(*words: str) -> dict[str, Any]:
        done = CliRunner().invoke(blurbs, [*words, "--workspace", str(tmp_path), "--json"])
        assert done.exit_code == 0, done.output
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    report = asked("generate", "--items", str(shop), "--limit", "4")
    assert report["model"] == "extractive"
    assert report["states"] == {"approved": 4}
    assert asked("revoke", "category", "Kitchen", "--actor", "anna") == {"revoked": 4}
    assert asked("off", "seller", "acme")["off"]["sellers"] == ["acme"]
    assert asked("on", "seller", "acme")["off"]["sellers"] == []


def test_what_lists_lacked_is_written_first_for_whom_it_lacked(tmp_path: Path, shop: Path) -> None:
    wanted = WantedBlurbs(tmp_path / "state" / WANTED_FILE)
    cup = BlurbSlot("cup", "en", "gift")
    wanted.add(
        {cup: 7, BlurbSlot("gone", "en"): 9, BlurbSlot("cup", "xx"): 8, BlurbSlot("cup", "en", "nobody"): 8}
    )
    with scripted_server(describe) as server:
        report = run(tmp_path, shop, server.url, limit=8)
    assert report.states["approved"] == 1 + len(NAMES)
    with opened(Workspace(tmp_path)) as book:
        assert book.approved(cup) is not None
    assert wanted.most(10) == []
    wanted.close()
