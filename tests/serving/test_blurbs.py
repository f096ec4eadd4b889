"""Tests of blurbs in answers, by real servers over a real channel, with a real store."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import redis

from recsys.blurbs.facts import Facts
from recsys.blurbs.row import BlurbRow, BlurbSlot, Source
from recsys.blurbs.switches import OffSwitches
from recsys.v1.blurb_service_pb2 import BatchGetBlurbsRequest, ReportBlurbRequest
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest, StreamRecommendRequest
from recsys.v1.types_pb2 import Blurb, BlurbFreshness, BlurbOptions, BlurbSource, View
from serving.blurb_store import BlurbWriter
from serving.client import Client
from serving.embedded_store import embedded_store
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import ITEM_IDS, SmallPipeline

FACTS = {item_id: Facts.of(SmallPipeline().items([item_id])[0]).content_hash for item_id in ITEM_IDS}
LINE = "size: 1 kg; tags: food"
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
    with Client(addresses[0], timeout_seconds=PATIENCE_SECONDS) as connected:
        yield connected


@pytest.fixture(scope="module")
def raw(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as connected:
        yield connected


@pytest.fixture(scope="module")
def writer(raw: redis.Redis) -> BlurbWriter:
    return BlurbWriter(raw, "default")


def blurbs(client: Client, options: BlurbOptions = ON, **fields: object) -> dict[str, Blurb]:
    request = RecommendRequest(user_id="u", blurbs=options, **fields)  # type: ignore[arg-type]  # as above
    return {result.item_id: result.blurb for result in client.recommend(request).results}


def until(client: Client, item_id: str, text: str, options: BlurbOptions = ON) -> Blurb:
    """The blurb of an item, once it is the one that is waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
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
