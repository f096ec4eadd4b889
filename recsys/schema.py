"""Names and types of every column: the data contract's vocabulary.

Column names are written here once. Times are milliseconds since the Unix epoch in UTC wherever they are
integers, and ``datetime[ms, UTC]`` wherever they are columns.

Items (``item_id`` unique):

============== ========================= ======== ==================================================
column         dtype                     null     meaning
============== ========================= ======== ==================================================
item_id        str                       no       opaque UTF-8 of 1-256 bytes
title          str                       no       what a shopper reads
description    str                       yes      free text
tags           list[str]                 yes
category       list[str]                 yes      path, root first
brand          str                       yes
price          f64                       yes      0 to ``MAX_AMOUNT``, in ``currency``
currency       str                       yes      ISO 4217
language       str                       yes      BCP 47
available      bool                      no       default true
created_time   datetime[ms, UTC]         yes
attributes     list[struct[key, value]]  yes      unknown extra columns are kept here, as text
============== ========================= ======== ==================================================

Users (``user_id`` unique):

============== ========================= ======== ==================================================
column         dtype                     null     meaning
============== ========================= ======== ==================================================
user_id        str                       no       opaque UTF-8 of 1-256 bytes
attributes     list[struct[key, value]]  yes      unknown extra columns are kept here, as text
updated_time   datetime[ms, UTC]         yes
============== ========================= ======== ==================================================

Events (``event_id`` unique):

============== ========================= ======== ==================================================
column         dtype                     null     meaning
============== ========================= ======== ==================================================
event_id       str                       no       idempotency key; a hash of the row when absent
event_type     str                       no       one of ``EVENT_TYPES``
user_id        str                       no       opaque UTF-8 of 1-256 bytes
item_id        str                       no       must be in the catalogue
event_time     datetime[ms, UTC]         no       when it happened
session_id     str                       yes
quantity       f64                       yes      0 to ``MAX_AMOUNT``
price          f64                       yes      0 to ``MAX_AMOUNT``
list_id        str                       yes      the ranked list it belongs to
position       i32                       yes      0-based position in that list
text           str                       yes      a comment's words
received_time  datetime[ms, UTC]         no       default ``event_time``
============== ========================= ======== ==================================================

Merges, one per login that says that a visitor is a user from now on:

============== ========================= ======== ==================================================
column         dtype                     null     meaning
============== ========================= ======== ==================================================
visitor        str                       no       the visitor, as in ``user_id`` of its events
user_id        str                       no       who the visitor turned out to be
merge_time     datetime[ms, UTC]         no       from when on; visible at t when it is < t
============== ========================= ======== ==================================================

Served lists (``list_id`` unique), which events name in their ``list_id``:

============== ========================= ======== ==================================================
column         dtype                     null     meaning
============== ========================= ======== ==================================================
list_id        str                       no
served_time    datetime[ms, UTC]         no
subject        str                       yes      the user or visitor, as in ``user_id`` of events
placement      str                       no
request_id     str                       no
model_version  str                       no
service_level  str                       no       FULL, NO_RANKER, NO_PERSONAL or POPULAR
item_ids       list[str]                 no       in the order shown
scores         list[f64]                 no       per item
propensities   list[f64]                 no       per item, in (0, 1]: how likely its slot was to get it
first_position i32                       no       position of the first item: above 0 on later pages
first_list_id  str                       yes      the first page's list, on later pages
arms           list[struct]              no       experiment and arm
latency_ms     f64                       yes      from the call's start until the list was ready
============== ========================= ======== ==================================================
"""

from typing import Final

import polars as pl

ITEM_ID: Final = "item_id"
TITLE: Final = "title"
DESCRIPTION: Final = "description"
TAGS: Final = "tags"
CATEGORY: Final = "category"
BRAND: Final = "brand"
PRICE: Final = "price"
CURRENCY: Final = "currency"
LANGUAGE: Final = "language"
AVAILABLE: Final = "available"
CREATED_TIME: Final = "created_time"
ATTRIBUTES: Final = "attributes"

USER_ID: Final = "user_id"
UPDATED_TIME: Final = "updated_time"

EVENT_ID: Final = "event_id"
EVENT_TYPE: Final = "event_type"
EVENT_TIME: Final = "event_time"
SESSION_ID: Final = "session_id"
QUANTITY: Final = "quantity"
LIST_ID: Final = "list_id"
POSITION: Final = "position"
TEXT: Final = "text"
RECEIVED_TIME: Final = "received_time"

VISITOR: Final = "visitor"
MERGE_TIME: Final = "merge_time"
MERGED_INTO: Final = "merged_into"
"""In a scan of the log: the user for whom a visitor's event counts from ``merge_time`` on, else null."""

SERVED_TIME: Final = "served_time"

EFFECTIVE_TIME: Final = "effective_time"
"""The earlier of ``event_time`` and ``received_time``: an event is visible at t when this is < t."""

QUERY_ID: Final = "query_id"
AS_OF: Final = "as_of"
CONTEXT_ITEM_IDS: Final = "context_item_ids"
RANK: Final = "rank"
SCORE: Final = "score"
SOURCES: Final = "sources"

TIMESTAMP: Final = pl.Datetime("ms", "UTC")

ITEM_SCHEMA: Final = pl.Schema(
    {
        ITEM_ID: pl.String(),
        TITLE: pl.String(),
        DESCRIPTION: pl.String(),
        TAGS: pl.List(pl.String()),
        CATEGORY: pl.List(pl.String()),
        BRAND: pl.String(),
        PRICE: pl.Float64(),
        CURRENCY: pl.String(),
        LANGUAGE: pl.String(),
        AVAILABLE: pl.Boolean(),
        CREATED_TIME: TIMESTAMP,
        ATTRIBUTES: pl.List(pl.Struct({"key": pl.String(), "value": pl.String()})),
    }
)

USER_SCHEMA: Final = pl.Schema(
    {
        USER_ID: pl.String(),
        ATTRIBUTES: pl.List(pl.Struct({"key": pl.String(), "value": pl.String()})),
        UPDATED_TIME: TIMESTAMP,
    }
)

EVENT_SCHEMA: Final = pl.Schema(
    {
        EVENT_ID: pl.String(),
        EVENT_TYPE: pl.String(),
        USER_ID: pl.String(),
        ITEM_ID: pl.String(),
        EVENT_TIME: TIMESTAMP,
        SESSION_ID: pl.String(),
        QUANTITY: pl.Float64(),
        PRICE: pl.Float64(),
        LIST_ID: pl.String(),
        POSITION: pl.Int32(),
        TEXT: pl.String(),
        RECEIVED_TIME: TIMESTAMP,
    }
)

MERGE_SCHEMA: Final = pl.Schema({VISITOR: pl.String(), USER_ID: pl.String(), MERGE_TIME: TIMESTAMP})

SERVED_LIST_SCHEMA: Final = pl.Schema(
    {
        LIST_ID: pl.String(),
        SERVED_TIME: TIMESTAMP,
        "subject": pl.String(),
        "placement": pl.String(),
        "request_id": pl.String(),
        "model_version": pl.String(),
        "service_level": pl.String(),
        "item_ids": pl.List(pl.String()),
        "scores": pl.List(pl.Float64()),
        "propensities": pl.List(pl.Float64()),
        "first_position": pl.Int32(),
        "first_list_id": pl.String(),
        "arms": pl.List(pl.Struct({"experiment": pl.String(), "arm": pl.String(), "version": pl.Int32()})),
        "forced": pl.List(pl.String()),
        "policy": pl.String(),
        "server": pl.String(),
        "server_sequence": pl.Int64(),
        "substituted": pl.List(pl.String()),
        "latency_ms": pl.Float64(),
    }
)

EVENT_TYPES: Final = (
    "impression",
    "view",
    "click",
    "add_to_cart",
    "purchase",
    "like",
    "dislike",
    "comment",
    "share",
)
"""Event types in code order: an event type's code is its position here, and is stored in online state."""

EVENT_TYPE_CODES: Final = {name: code for code, name in enumerate(EVENT_TYPES)}

IMPRESSION: Final = "impression"
"""The event type that says an item was shown."""
ENGAGEMENTS: Final = ("click", "add_to_cart", "purchase", "like")
"""Event types that count as engaging with an item that was shown."""

MAX_ID_BYTES: Final = 256
"""Longest id in bytes of UTF-8."""
MAX_AMOUNT: Final = 1e12
"""Most that a price or a quantity may be; what lies beyond float32 would make features infinite."""
MAX_TEXT_CHARS: Final = 20_000
"""Longest text field of an item or event in characters; longer rows are rejected at ingest."""
MAX_FUTURE_MS: Final = 5 * 60 * 1000
"""An event later than the clock by more than this is rejected."""
DAY_MS: Final = 24 * 60 * 60 * 1000
"""Milliseconds in a day."""
