"""What is fuzzed: every reader of bytes that come from a client, a file or the store."""

import os
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from recsys.config import Config, load_config
from recsys.errors import InvalidRequestError
from recsys.experiments.definition import parse_experiment
from recsys.item_filter import compile_filter
from recsys.manifest import read_manifest
from recsys.mapped import mapped_arrays
from recsys.model_text import read_model_text
from recsys.readers import read_source
from recsys.registry import Registry
from recsys.rules import load_rules
from recsys.user_state import UserState
from recsys.v1 import catalog_service_pb2, event_service_pb2, recommendation_service_pb2
from recsys.validation import check_items
from serving.attribution_token import AttributionToken
from serving.catalog_servicer import received_item
from serving.kept_list import KeptList
from serving.page_token import PageToken
from serving.requests import parse, rank_question, received_events, recommend_question
from serving.signer import Signer
from serving.tokens import read_tokens
from serving.visitor_link import VisitorLink

_SIGNER: Final = Signer([b"k" * 32], "default")
_IDENTITY: Final = b"i" * 16
_MOST_EVENTS: Final = 1000


def request(data: bytes) -> None:
    """A request off the wire: the first byte says to which method."""
    kind, raw = data[:1], data[1:]
    if kind == b"r":
        recommend_question(parse(recommendation_service_pb2.RecommendRequest, raw), _config(), _SIGNER)
    elif kind == b"k":
        rank_question(parse(recommendation_service_pb2.RankRequest, raw), _config())
    elif kind == b"e":
        received_events(parse(event_service_pb2.RecordEventsRequest, raw), _MOST_EVENTS)
    elif kind == b"i":
        for item in parse(catalog_service_pb2.UpsertItemsRequest, raw).items[:4]:
            received_item(item)


def item_filter(data: bytes) -> None:
    """A filter expression."""
    compile_filter(data.decode(errors="replace"))


def tokens(data: bytes) -> None:
    """A page token or an attribution token; also well signed ones around any payload."""
    text = data.decode("latin-1")
    for read in (
        lambda: PageToken.read(_SIGNER, text, _IDENTITY),
        lambda: AttributionToken.read(_SIGNER, text),
        lambda: PageToken.read(_SIGNER, _SIGNER.sign("page_token", data), _IDENTITY),
        lambda: AttributionToken.read(_SIGNER, _SIGNER.sign("attribution_token", data)),
    ):
        try:
            read()
        except InvalidRequestError:
            continue


def rows(data: bytes) -> None:
    """Items as JSON Lines or CSV, as ingest reads them."""
    path = _file("rows.jsonl" if data[:1] in b"{[ \n" else "rows.csv", data)
    check_items(read_source(path))


def model_text(data: bytes) -> None:
    """A LightGBM model."""
    read_model_text(data)


def manifest(data: bytes) -> None:
    """A bundle's manifest, or the registry's pointers."""
    directory = _file("manifest.json", data).parent
    read_manifest(directory)


def pointers(data: bytes) -> None:
    """The registry's pointer file."""
    Registry(_file("pointers.json", data).parent).pointers()


def store(data: bytes) -> None:
    """A value of the online store: a user's state, a visitor's link or a kept list."""
    kind, raw = data[:1], data[1:]
    if kind == b"l":
        KeptList.from_bytes(raw)
    elif kind == b"v":
        VisitorLink.from_bytes(raw)
    elif kind == b"c":  # as if whoever wrote it knew how
        UserState.from_bytes(raw[:24] + zlib.crc32(raw[28:]).to_bytes(4, "little") + raw[28:])
    else:
        UserState.from_bytes(raw)


def toml(data: bytes) -> None:
    """An experiment, rules, a configuration or a file of tokens."""
    kind, raw = data[:1], data[1:]
    if kind == b"x":
        parse_experiment(raw.decode(errors="replace"), "fuzz")
    elif kind == b"r":
        load_rules(_file("rules.toml", raw))
    elif kind == b"t":
        read_tokens(_file("tokens.toml", raw))
    else:
        load_config(_file("recsys.toml", raw))


def arrays(data: bytes) -> None:
    """A safetensors file, as bundles map it; damage is a ``ValueError`` that loading a bundle words."""
    try:
        mapped_arrays(_file("arrays.safetensors", data))
    except (ValueError, KeyError, TypeError):
        return


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (request, item_filter, tokens, rows, model_text, manifest, pointers, store, toml, arrays)
}


@cache
def _config() -> Config:
    return Config()


@cache
def _directory() -> Path:
    """Of this process alone, in memory where the system has such a place."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix=f"fuzz-{os.getpid()}-", dir=shared if shared.is_dir() else None))


def _file(name: str, data: bytes) -> Path:
    path = _directory() / name
    path.write_bytes(data)
    return path
