"""Tests of blurbs in answers, by real servers over a real channel, with a real store."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import redis

from recsys.blurbs.book import Book
from recsys.blurbs.book_file import BOOK_FILE
from recsys.blurbs.entry import JobResult, Request, State
from recsys.blurbs.facts import Facts
from recsys.blurbs.row import BlurbRow, BlurbSlot, Source
from recsys.blurbs.switches import OffSwitches
from recsys.blurbs.wanted import WANTED_FILE, WantedBlurbs
from recsys.blurbs.withdrawn import Withdrawn
from recsys.experiments.registry import ExperimentRegistry
from recsys.pseudonyms import Pseudonyms
from recsys.v1.blurb_service_pb2 import BatchGetBlurbsRequest, ReportBlurbRequest
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest, StreamRecommendRequest
from recsys.v1.types_pb2 import Blurb, BlurbFreshness, BlurbOptions, BlurbSource, View
from recsys.workspace import Workspace
from serving.blurb_store import BlurbWriter
from serving.client import Client
from serving.edge import PseudonymEdge
from serving.embedded_store import embedded_store
from tests.recsys.experiments.small_experiment import toml
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import ITEM_IDS, SmallPipeline
from tests.serving.test_servicer import violated

FACTS = {item_id: Facts.of(SmallPipeline().items([item_id])[0]).content_hash for item_id in ITEM_IDS}
LINE = "size: 1 kg"
"""What the server cuts out of every item's own words."""
ON = BlurbOptions(enabled=True, language_codes=["de", "en"], segment="none")


def row(text: str, item_id: str = "bread", language: str = "de", **changes: object) -> BlurbRow:
    now = round(time.time() * 1000)
    made = BlurbRow(
        text=text,
        source=Source.GENERATED,
        ai_generated=True,
        language=language,
        model="m@1",
        prompt_version="p1",
        blurb_id=f"{abs(hash((text, item_id, language))):032x}",
        generated_at=now,
        fact_ids=("f1",),
        fresh_until=now + 1_000_000,
        stale_until=now + 2_000_000,
        facts_hash=FACTS[item_id],
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # whatever a test changes


@pytest.fixture(scope="module", autouse=True)
def hurry() -> Iterator[None]:
    """Servers look at the store more often than once a second, and distrust what they have sooner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.blurb_watch.EVERY_SECONDS", 0.02)
        patch.setattr("serving.blurb_desk.EVERY_SECONDS", 0.02)
        patch.setattr("serving.blurb_reader.TRUSTED_SECONDS", 1.0)
        yield


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded_store() as where:
        yield where


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def addresses(url: str, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Two servers of one store."""
    (root / "recsys.toml").write_text('[blurbs]\nlanguages = ["de", "en"]\nreports_hide = 2\n')
    with (
        running_server(root, SmallPipeline(), redis_url=url) as one,
        running_server(tmp_path_factory.mktemp("other"), SmallPipeline(), redis_url=url) as two,
    ):
        yield one, two


@pytest.fixture(scope="module")
def client(addresses: tuple[str, str]) -> Iterator[Client]:
    for address in addresses:  # until the gate has judged every item's own words
        with Client(address, timeout_seconds=PATIENCE_SECONDS) as connected:
            for item_id in ITEM_IDS:
                until(connected, item_id, LINE)
    with Client(addresses[0], timeout_seconds=PATIENCE_SECONDS) as connected:
        yield connected


@pytest.fixture(scope="module")
def raw(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as connected:
        yield connected


@pytest.fixture(scope="module")
def writer(raw: redis.Redis) -> BlurbWriter:
    return BlurbWriter(raw, "default")


@pytest.fixture(autouse=True)
def nothing_published(writer: BlurbWriter) -> None:
    writer.clear()
    writer.switch(OffSwitches())


def blurbs(client: Client, options: BlurbOptions = ON, **fields: object) -> dict[str, Blurb]:
    request = RecommendRequest(user_id="u", blurbs=options, **fields)  # type: ignore[arg-type]  # as above
    return {result.item_id: result.blurb for result in client.recommend(request).results}


def until(
    client: Client, item_id: str, text: str, options: BlurbOptions = ON, patience: float = PATIENCE_SECONDS
) -> Blurb:
    """The blurb of an item, once it is the one that is waited for."""
    deadline = time.monotonic() + patience
    while (found := blurbs(client, options)[item_id]).text != text:
        assert time.monotonic() < deadline, f"{item_id} still has {found.text!r}"
        time.sleep(0.05)
    return found


def test_an_approved_blurb_comes_with_where_it_is_from(client: Client, writer: BlurbWriter) -> None:
    made = row("Brot vom Hof, 1 kg.")
    writer.publish({BlurbSlot("bread", "de"): made})
    found = until(client, "bread", made.text)
    assert found.source == BlurbSource.BLURB_SOURCE_GENERATED
    assert found.freshness == BlurbFreshness.BLURB_FRESHNESS_FRESH
    assert (found.ai_generated, found.disclosure_key) == (True, "blurb.ai_generated")
    assert (found.language, found.model, found.prompt_version) == ("de", "m@1", "p1")
    assert found.blurb_id == made.blurb_id
    assert found.generated_at.ToMilliseconds() == made.generated_at
    assert not found.fact_ids
    assert blurbs(client, view=View.VIEW_FULL)["bread"].fact_ids == ["f1"]


def test_without_options_there_is_no_blurb_and_the_list_is_the_same(client: Client) -> None:
    without = client.recommend(RecommendRequest(user_id="u"))
    withal = client.recommend(RecommendRequest(user_id="u", blurbs=ON))
    assert not any(result.HasField("blurb") for result in without.results)
    assert all(result.HasField("blurb") for result in withal.results)
    order = [(result.item_id, result.score) for result in withal.results]
    assert order == [(result.item_id, result.score) for result in without.results]


def test_the_language_chain_is_gone_down_item_by_item_and_said(client: Client, writer: BlurbWriter) -> None:
    writer.publish(
        {
            BlurbSlot("cheese", "en"): row("Cheese from the farm.", "cheese", "en"),
            BlurbSlot("dates", "de"): row("Datteln.", "dates"),
        }
    )
    asked = BlurbOptions(enabled=True, language_codes=["de-AT", "en"], segment="none")
    until(client, "cheese", "Cheese from the farm.", asked)
    found = blurbs(client, asked)
    assert (found["dates"].text, found["dates"].language) == ("Datteln.", "de")
    assert found["cheese"].language == "en"
    own = found["eggs"]
    assert (own.text, own.language, own.source) == (LINE, "en", BlurbSource.BLURB_SOURCE_EXTRACTIVE)
    assert own.freshness == BlurbFreshness.BLURB_FRESHNESS_FALLBACK
    french = BlurbOptions(enabled=True, language_codes=["fr"], segment="none")
    assert not any(blurb.text for blurb in blurbs(client, french).values())
    french.language_codes.append("*")
    assert blurbs(client, french)["eggs"].text == LINE


def test_a_blurb_is_shown_only_while_its_facts_hold(client: Client, writer: BlurbWriter) -> None:
    now = round(time.time() * 1000)
    writer.publish(
        {
            BlurbSlot("apples", "de"): row("Alte Sorte.", "apples", fresh_until=now - 1),
            BlurbSlot("eggs", "de"): row("Sechs Eier.", "eggs", facts_hash="of other facts"),
        }
    )
    stale = until(client, "apples", "Alte Sorte.")
    assert stale.freshness == BlurbFreshness.BLURB_FRESHNESS_STALE
    assert blurbs(client)["eggs"].text == LINE


def test_a_text_is_cut_for_the_reader_and_kept_from_who_does_not_want_it(
    client: Client, writer: BlurbWriter
) -> None:
    long = "Ein Laib aus Roggen. Er hält sich eine Woche lang frisch."
    writer.publish({BlurbSlot("bread", "de"): row(long)})
    until(client, "bread", long)
    short = BlurbOptions(enabled=True, language_codes=["de"], segment="none", max_chars=25)
    assert blurbs(client, short)["bread"].text == "Ein Laib aus Roggen."
    short.require_reviewed = True
    assert blurbs(client, short)["bread"].text == ""
    writer.publish({BlurbSlot("bread", "de"): row("Geprüft.", source=Source.GENERATED_REVIEWED)})
    until(client, "bread", "Geprüft.", short)
    short.allow_generated = False
    assert blurbs(client, short)["bread"].text == ""


def test_a_segment_is_one_of_a_closed_list(client: Client, writer: BlurbWriter) -> None:
    writer.publish(
        {
            BlurbSlot("dates", "de"): row("Datteln.", "dates"),
            BlurbSlot("dates", "de", "gift"): row("Datteln, hübsch verpackt.", "dates"),
        }
    )
    gift = BlurbOptions(enabled=True, language_codes=["de"], segment="gift")
    until(client, "dates", "Datteln, hübsch verpackt.", gift)
    gift.segment = "craft"
    assert blurbs(client, gift)["dates"].text == "Datteln."
    gift.segment = "u-1234"
    with pytest.raises(grpc.RpcError) as refused:
        blurbs(client, gift)
    assert "expected one of none, budget" in violated(refused.value)["blurbs.segment"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (BlurbOptions(enabled=True, max_chars=-1), "blurbs.max_chars"),
        (BlurbOptions(enabled=True, language_codes=["de", "not a tag"]), "blurbs.language_codes[1]"),
        (BlurbOptions(enabled=True, language_codes=["*", "de"]), "blurbs.language_codes[0]"),
        (BlurbOptions(enabled=True, language_codes=["de"] * 9), "blurbs.language_codes"),
    ],
)
def test_wrong_options_are_refused(client: Client, options: BlurbOptions, field: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.recommend(RecommendRequest(user_id="u", blurbs=options))
    assert list(violated(refused.value)) == [field]


def test_what_is_revoked_is_gone_from_every_server(
    addresses: tuple[str, str], client: Client, writer: BlurbWriter
) -> None:
    with Client(addresses[1], timeout_seconds=PATIENCE_SECONDS) as other:
        writer.publish({BlurbSlot("eggs", "de"): row("Eier.", "eggs")})
        for each in (client, other):
            until(each, "eggs", "Eier.")
        writer.publish({BlurbSlot("eggs", "de"): None})
        for each in (client, other):
            until(each, "eggs", LINE)


def test_words_that_were_withdrawn_do_not_come_back_as_the_items_own(
    client: Client, writer: BlurbWriter
) -> None:
    def withdraws(withdrawn: Withdrawn, item_id: str, text: str) -> None:
        for _ in range(10):  # a server that has a book, after a report, may publish that one's in between
            writer.publish({}, withdrawn=withdrawn)
            with suppress(AssertionError):
                until(client, item_id, text, patience=PATIENCE_SECONDS / 10)
                return
        raise AssertionError(f"{item_id} does not come to {text!r}")

    withdraws(Withdrawn.of([("bread", "Size: 1 kg.")], []), "bread", "")
    assert blurbs(client)["eggs"].text == LINE
    withdraws(Withdrawn.of([], ["1 KG"]), "eggs", "")
    withdraws(Withdrawn(), "bread", LINE)


def test_switches_turn_blurbs_off(client: Client, writer: BlurbWriter) -> None:
    writer.publish({BlurbSlot("bread", "de"): row("Brot.")})
    until(client, "bread", "Brot.")
    writer.switch(OffSwitches(item_ids=frozenset({"bread"})))
    until(client, "bread", "")
    assert blurbs(client)["eggs"].text
    writer.switch(OffSwitches(categories=frozenset({"Food"})))
    until(client, "eggs", "")
    writer.switch(OffSwitches())
    until(client, "bread", "Brot.")


def test_enough_reports_of_different_shoppers_hide_a_blurb(
    addresses: tuple[str, str], client: Client, writer: BlurbWriter
) -> None:
    writer.publish({BlurbSlot("bread", "de"): row("Steinbrot.")})
    reported = until(client, "bread", "Steinbrot.").blurb_id
    first = client.report_blurb(ReportBlurbRequest(blurb_id=reported, user_id="u"))
    again = client.report_blurb(ReportBlurbRequest(blurb_id=reported, user_id="u"))
    assert [(each.duplicate, each.hidden) for each in (first, again)] == [(False, False), (True, False)]
    assert client.report_blurb(ReportBlurbRequest(blurb_id=reported, visitor_id="u")).hidden
    assert blurbs(client)["bread"].text == LINE
    with Client(addresses[1], timeout_seconds=PATIENCE_SECONDS) as other:
        until(other, "bread", LINE)
    slot = BlurbSlot("bread", "de")
    writer.publish({slot: row("Steinbrot.")})  # published anew, but nobody looked at it
    assert blurbs(client)["bread"].text == LINE
    writer.publish({slot: row("Steinbrot.")}, approved={slot})
    until(client, "bread", "Steinbrot.")
    with pytest.raises(grpc.RpcError) as refused:
        client.report_blurb(ReportBlurbRequest(blurb_id="x", reason=9))  # type: ignore[arg-type]  # no such
    assert list(violated(refused.value)) == ["blurb_id", "user_id", "reason"]
    with pytest.raises(grpc.RpcError) as refused:
        client.report_blurb(ReportBlurbRequest(blurb_id="f" * 32, user_id="u"))  # no such blurb
    assert list(violated(refused.value)) == ["blurb_id"]


def test_later_pages_and_the_callers_own_lists_have_blurbs_too(client: Client, writer: BlurbWriter) -> None:
    writer.publish({BlurbSlot("bread", "de"): row("Brot.")})
    until(client, "bread", "Brot.")
    whole = blurbs(client)
    first = client.recommend(RecommendRequest(user_id="u", page_size=2, blurbs=ON))
    second = client.recommend(
        RecommendRequest(user_id="u", page_size=3, blurbs=ON, page_token=first.next_page_token)
    )
    paged = {result.item_id: result.blurb for page in (first, second) for result in page.results}
    assert paged == whole
    plain = client.recommend(RecommendRequest(user_id="u", page_size=3, page_token=first.next_page_token))
    assert [r.item_id for r in plain.results] == [r.item_id for r in second.results]
    ranked = client.rank(RankRequest(user_id="u", item_ids=["eggs", "bread"], blurbs=ON))
    assert {result.item_id: result.blurb for result in ranked.results}["bread"] == whole["bread"]


def test_blurbs_can_be_asked_for_by_item(client: Client, writer: BlurbWriter) -> None:
    writer.publish({BlurbSlot("bread", "de"): row("Brot.")})
    until(client, "bread", "Brot.")
    request = BatchGetBlurbsRequest(item_ids=["bread", "nothing", "bread"], options=ON, view=View.VIEW_FULL)
    found = client.get_blurbs(request)
    assert [(each.item_id, each.blurb.text) for each in found.blurbs] == [("bread", "Brot.")]
    assert found.blurbs[0].blurb.fact_ids == ["f1"]
    assert list(found.missing_item_ids) == ["nothing"]
    with pytest.raises(grpc.RpcError) as refused:
        client.get_blurbs(BatchGetBlurbsRequest(options=BlurbOptions(max_chars=-1)))
    assert list(violated(refused.value)) == ["item_ids", "options.max_chars"]


def test_late_blurbs_follow_the_list(client: Client, writer: BlurbWriter) -> None:
    request = StreamRecommendRequest(wait_ms=5000)
    request.request.CopyFrom(RecommendRequest(user_id="u", blurbs=ON))
    writer.publish({BlurbSlot(item_id, "de"): row("Da.", item_id) for item_id in ITEM_IDS[1:]})
    writer.publish({BlurbSlot("apples", "de"): None})
    until(client, "apples", LINE)
    until(client, "eggs", "Da.")
    answers = client.stream_recommend(request)
    first = next(answers).list
    assert [result.item_id for result in first.results] == list(ITEM_IDS)
    assert first.results[0].blurb.text == LINE
    writer.publish({BlurbSlot("apples", "de"): row("Endlich.", "apples")})
    late = [(each.item_id, each.blurb.text) for answer in answers for each in answer.late_blurbs.blurbs]
    assert late == [("apples", "Endlich.")]


def test_a_stream_without_anything_to_wait_for_ends_with_the_list(client: Client) -> None:
    request = StreamRecommendRequest(request=RecommendRequest(user_id="u"))
    [only] = client.stream_recommend(request)
    assert len(only.list.results) == len(ITEM_IDS)
    request.request.validate_only = True
    [checked] = client.stream_recommend(request)
    assert not checked.list.results
    request.wait_ms = -1
    with pytest.raises(grpc.RpcError) as refused:
        list(client.stream_recommend(request))
    assert list(violated(refused.value)) == ["wait_ms"]


def test_an_arm_reads_its_own_policy(client: Client, writer: BlurbWriter, root: Path) -> None:
    registry = ExperimentRegistry(Workspace(root))
    defined = toml("lines", treatment='blurbs = "bold"')
    registry.start(defined, "d.toml")
    writer.publish(
        {
            BlurbSlot("bread", "de"): row("Brot."),
            BlurbSlot("bread", "de", policy="bold"): row("Brot!"),
        }
    )
    until(client, "bread", "Brot.")
    deadline = time.monotonic() + PATIENCE_SECONDS
    found: dict[str, Blurb] = {}
    while not found or found["bread"].text != "Brot!":
        assert time.monotonic() < deadline
        try:
            found = blurbs(client, attributes={"experiment.lines": "treatment"})
        except grpc.RpcError:  # it is not taken over yet
            time.sleep(0.05)
    assert blurbs(client, attributes={"experiment.lines": "control"})["bread"].text == "Brot."
    registry.stop("lines")


def test_what_lists_lack_is_written_down_by_how_often(client: Client, root: Path) -> None:
    wanted = WantedBlurbs(root / "state" / WANTED_FILE)
    deadline, options = time.monotonic() + PATIENCE_SECONDS, BlurbOptions(enabled=True, segment="travel")
    for _ in range(3):
        blurbs(client, options)
    slot = BlurbSlot("eggs", "de", "travel")
    while dict(wanted.most(100)).get(slot) != 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    wanted.forget([slot])
    assert slot not in dict(wanted.most(100))
    wanted.close()


def test_the_order_is_the_same_to_the_bit_whatever_is_asked_of_blurbs(
    client: Client, writer: BlurbWriter
) -> None:
    draw = random.Random(7)
    for number in range(12):
        item_id = draw.choice(ITEM_IDS)
        slot = BlurbSlot(item_id, draw.choice(["de", "en"]), draw.choice(["", "gift"]))
        writer.publish({slot: draw.choice([None, row(f"Text {number}.", item_id, slot.language)])})
        options = BlurbOptions(
            enabled=True,
            segment=draw.choice(["", "none", "gift"]),
            max_chars=draw.choice([0, 5, 40]),
            language_codes=draw.choice([["de"], ["en", "de"], ["fr", "*"], []]),
        )
        request = RecommendRequest(user_id=f"u{number % 3}", exclude_item_ids=draw.sample(ITEM_IDS, 2))
        without = client.recommend(request).results
        request.blurbs.CopyFrom(options)
        withal = client.recommend(request).results
        for result in withal:
            result.ClearField("blurb")
        assert withal == without


def test_a_store_that_hangs_or_dies_costs_nothing_but_the_approved_blurbs(tmp_path: Path) -> None:
    with embedded_store() as own, redis.Redis.from_url(own) as admin:
        pid = int(admin.info("server")["process_id"])
        BlurbWriter(admin, "default").publish({BlurbSlot("bread", "en"): row("Bread.", language="en")})
        options = BlurbOptions(enabled=True, language_codes=["en"])
        with (
            running_server(
                tmp_path,
                redis_url=own,
                blurb_timeout_ms=100,
                state_timeout_ms=100,
                store_timeout_ms=100,
            ) as where,
            Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
        ):
            until(client, "bread", "Bread.", options)
            os.kill(pid, signal.SIGSTOP)
            try:
                for item_id in ITEM_IDS:
                    until(client, item_id, LINE, options)
                assert [blurb.text for blurb in blurbs(client, options).values()] == [LINE] * len(ITEM_IDS)
            finally:
                os.kill(pid, signal.SIGCONT)
            until(client, "bread", "Bread.", options)
            os.kill(pid, signal.SIGKILL)
            until(client, "bread", LINE, options)
            assert [blurb.text for blurb in blurbs(client, options).values()] == [LINE] * len(ITEM_IDS)


def test_what_the_book_says_is_served_and_a_reported_text_waits_for_a_person(
    client: Client, root: Path
) -> None:
    facts = Facts.of(SmallPipeline().items(["apples"])[0])
    slot = BlurbSlot("apples", "en", "music")
    request = Request("key", slot, facts.canonical, facts.content_hash, facts.category, None, "p", "m@1", "g")
    book, now = Book(root / "state" / BOOK_FILE), round(time.time() * 1000)
    book.enqueue([request], now)
    [job] = book.claim(1, now)
    text = "Apples from the farm, 1 kg."
    made = JobResult(State.APPROVED, text, Source.GENERATED, (), "{}", now, now + 10**6, now + 10**7)
    assert book.finish(job, made, now)
    music = BlurbOptions(enabled=True, language_codes=["en"], segment="music")
    shown = until(client, "apples", text, music)
    client.report_blurb(ReportBlurbRequest(blurb_id=shown.blurb_id, user_id="a"))
    assert client.report_blurb(ReportBlurbRequest(blurb_id=shown.blurb_id, user_id="b")).hidden
    entry = book.find_blurb(shown.blurb_id)
    assert entry is not None
    assert entry.state is State.REVIEW
    until(client, "apples", LINE, music)
    book.close()


def test_a_streams_request_has_its_pseudonyms_too() -> None:
    pseudonyms = Pseudonyms(b"a key of sixteen bytes or more", "t")
    request = StreamRecommendRequest(request=RecommendRequest(user_id="u"))
    PseudonymEdge(pseudonyms)(request)
    assert request.request.user_id == pseudonyms.of("u") != "u"
