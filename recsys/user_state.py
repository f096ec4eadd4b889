"""What is remembered of one user: decayed sums per (item, event type) and the times of the baskets.

A row holds, for one item and one event type, the decayed sums ``S(t) = sum 2^(-(t - t_i) / h)`` at the time
of the row's latest event, one per half-life. Rows are small and mergeable, and everything behavioural is read
from them: user-attribute sums are sums of rows (decay is linear), the recent history is the rows ordered by
time. Nothing here knows the catalogue; ids are the shop's own, so a state outlives a change of model.
"""

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8

from recsys.config import StateConfig
from recsys.errors import StoreError
from recsys.schema import DAY_MS, EVENT_TYPE_CODES, IMPRESSION

SMALLEST_SUM = 1e-12
"""Decayed sums below this are 0, online and offline."""

_VERSION = 1
_HEADER = struct.Struct("<BBxxIIIqI")  # version, half-lives, rows, baskets, id bytes, applied sequence, crc32


@dataclass(eq=False)
class UserState:
    """State of one user, in arrays of one entry per (item, event type) row.

    Rows are unordered. ``sums`` are as of the row's own ``last_ms``; read them with ``decayed``.
    """

    half_lives_days: tuple[float, ...]
    item_ids: list[str] = field(default_factory=list)
    event_types: UInt8[np.ndarray, " rows"] = field(default_factory=lambda: np.empty(0, np.uint8))
    sums: Float64[np.ndarray, "rows half_lives"] = field(default_factory=lambda: np.empty((0, 0)))
    first_ms: Int64[np.ndarray, " rows"] = field(default_factory=lambda: np.empty(0, np.int64))
    last_ms: Int64[np.ndarray, " rows"] = field(default_factory=lambda: np.empty(0, np.int64))
    counts: Int32[np.ndarray, " rows"] = field(default_factory=lambda: np.empty(0, np.int32))
    basket_ms: Int64[np.ndarray, " baskets"] = field(default_factory=lambda: np.empty(0, np.int64))
    """Distinct times of purchases, ascending."""
    applied_sequence: int = 0
    """Sequence number of the latest buffered event applied; a replay skips what is not above it."""

    def __post_init__(self) -> None:
        if self.sums.shape[0] == 0:
            self.sums = np.empty((0, len(self.half_lives_days)))

    @property
    def num_rows(self) -> int:
        """How many (item, event type) pairs are remembered."""
        return len(self.item_ids)

    @property
    def latest_ms(self) -> int:
        """Time of the user's latest event, or 0 when there is none."""
        return int(self.last_ms.max()) if self.num_rows else 0

    def decayed(self, as_of_ms: int) -> Float64[np.ndarray, "rows half_lives"]:
        """The sums at ``as_of_ms``; values below ``SMALLEST_SUM`` are 0."""
        half_lives_ms = np.asarray(self.half_lives_days) * DAY_MS
        sums: Float64[np.ndarray, "rows half_lives"] = self.sums * np.exp2(
            -(as_of_ms - self.last_ms)[:, None] / half_lives_ms
        )
        sums[sums < SMALLEST_SUM] = 0.0
        return sums

    def live(self, as_of_ms: int, config: StateConfig) -> "UserState":
        """The rows and baskets that have not expired: whose last event is at most ``max_age_days`` old."""
        oldest = as_of_ms - round(config.max_age_days * DAY_MS)
        keep = self.last_ms >= oldest
        if keep.all() and (not self.basket_ms.size or self.basket_ms[0] >= oldest):
            return self
        rows = self._take(np.flatnonzero(keep))
        rows.basket_ms = self.basket_ms[self.basket_ms >= oldest]
        return rows

    def apply(self, item_id: str, event_type: int, time_ms: int, *, is_purchase: bool, max_rows: int) -> None:
        """Add one event; late events are allowed.

        A late event adds ``2^(-(last - t) / h)`` and leaves ``last`` alone. When the row is new and the state
        is full, a row makes room, see ``capped``.

        Args:
            item_id: The item it happened to.
            event_type: Code of the event type, see ``recsys.schema.EVENT_TYPE_CODES``.
            time_ms: Effective time, milliseconds since the epoch.
            is_purchase: Whether its time counts as a basket.
            max_rows: Most rows to keep.
        """
        row = self._row_of(item_id, event_type)
        if row is None:
            self._append(item_id, event_type, time_ms)
        else:
            half_lives_ms = np.asarray(self.half_lives_days) * DAY_MS
            gap = time_ms - int(self.last_ms[row])
            if gap >= 0:
                self.sums[row] = self.sums[row] * np.exp2(-gap / half_lives_ms) + 1.0
                self.last_ms[row] = time_ms
            else:
                self.sums[row] += np.exp2(gap / half_lives_ms)
                self.first_ms[row] = min(int(self.first_ms[row]), time_ms)
            self.counts[row] += 1
        if is_purchase:
            at = int(np.searchsorted(self.basket_ms, time_ms))
            if at == self.basket_ms.size or self.basket_ms[at] != time_ms:
                self.basket_ms = np.insert(self.basket_ms, at, time_ms)
        if self.num_rows > max_rows:
            self.__dict__.update(self.capped(max_rows).__dict__)

    def merged_with(self, other: "UserState") -> "UserState":
        """One state of the events of both, with the rows of both and this one's ``applied_sequence``.

        Sums are linear, so rows of one item and event type add up once they are decayed to the later one's
        time; it is the state that applying all events in order of time would give, but for the cap on rows.

        Raises:
            ValueError: The half-lives differ.
        """
        if self.half_lives_days != other.half_lives_days:
            raise ValueError("states of different half-lives cannot be merged")
        ids, types = [*self.item_ids, *other.item_ids], np.append(self.event_types, other.event_types)
        rows: dict[tuple[str, int], int] = {}
        row = np.fromiter(
            (rows.setdefault(key, len(rows)) for key in zip(ids, types.tolist(), strict=True)),
            np.int64,
            len(ids),
        )
        times = np.append(self.last_ms, other.last_ms)
        last, first = np.full(len(rows), np.iinfo(np.int64).min), np.full(len(rows), np.iinfo(np.int64).max)
        np.maximum.at(last, row, times)
        np.minimum.at(first, row, np.append(self.first_ms, other.first_ms))
        gaps = (last[row] - times)[:, None] / (np.asarray(self.half_lives_days) * DAY_MS)
        sums = np.zeros((len(rows), len(self.half_lives_days)))
        np.add.at(sums, row, np.vstack((self.sums, other.sums)) * np.exp2(-gaps))
        counts = np.zeros(len(rows), np.int32)
        np.add.at(counts, row, np.append(self.counts, other.counts))
        return type(self)(
            half_lives_days=self.half_lives_days,
            item_ids=[item_id for item_id, _ in rows],
            event_types=np.asarray([event_type for _, event_type in rows], np.uint8),
            sums=sums,
            first_ms=first,
            last_ms=last,
            counts=counts,
            basket_ms=np.union1d(self.basket_ms, other.basket_ms),
            applied_sequence=self.applied_sequence,
        )

    def capped(self, max_rows: int) -> "UserState":
        """The state with at most ``max_rows`` rows: those whose last event is newest, ties by item id.

        Impressions make room before anything that the user did.
        """
        if self.num_rows <= max_rows:
            return self
        is_impression = self.event_types == EVENT_TYPE_CODES[IMPRESSION]
        newest_first = np.lexsort((np.asarray(self.item_ids), -self.last_ms, is_impression))
        return self._take(np.sort(newest_first[:max_rows]))

    def to_bytes(self) -> bytes:
        """Serialise with a version byte and a CRC-32; the inverse of ``from_bytes``."""
        ids = [item_id.encode() for item_id in self.item_ids]
        body = b"".join(
            (
                np.asarray(self.half_lives_days, "<f8").tobytes(),
                np.asarray([len(item_id) for item_id in ids], "<u2").tobytes(),
                b"".join(ids),
                self.event_types.tobytes(),
                self.sums.astype("<f8", copy=False).tobytes(),
                self.first_ms.astype("<i8", copy=False).tobytes(),
                self.last_ms.astype("<i8", copy=False).tobytes(),
                self.counts.astype("<i4", copy=False).tobytes(),
                self.basket_ms.astype("<i8", copy=False).tobytes(),
            )
        )
        return (
            _HEADER.pack(
                _VERSION,
                len(self.half_lives_days),
                self.num_rows,
                self.basket_ms.size,
                sum(map(len, ids)),
                self.applied_sequence,
                zlib.crc32(body),
            )
            + body
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> "UserState":
        """Read what ``to_bytes`` wrote.

        Raises:
            StoreError: The bytes are cut short, damaged or of another version.
        """
        try:
            version, num_half_lives, rows, baskets, id_bytes, applied, crc = _HEADER.unpack_from(raw)
        except struct.error as error:
            raise StoreError(f"user state of {len(raw)} bytes is shorter than its header") from error
        if version != _VERSION:
            raise StoreError(f"user state has version {version}, this code reads version {_VERSION}")
        body = raw[_HEADER.size :]
        expected = (
            8 * num_half_lives + id_bytes + rows * (2 + 1 + 8 * num_half_lives + 8 + 8 + 4) + 8 * baskets
        )
        if len(body) != expected or zlib.crc32(body) != crc:
            raise StoreError("user state is damaged: its length or checksum does not match")
        read = _Reader(body)
        half_lives = read.array("<f8", num_half_lives)
        lengths = read.array("<u2", rows)
        id_block = read.bytes(id_bytes)
        ends = np.cumsum(lengths, dtype=np.int64).tolist()
        starts = [0, *ends[:-1]] if ends else []
        try:
            item_ids = _split(id_block, starts, ends)
        except UnicodeDecodeError as error:
            raise StoreError("user state is damaged: its item ids are no text") from error
        return cls(
            half_lives_days=tuple(half_lives.tolist()),
            item_ids=item_ids,
            event_types=read.array("u1", rows),
            sums=read.array("<f8", rows * num_half_lives).reshape(rows, num_half_lives),
            first_ms=read.array("<i8", rows),
            last_ms=read.array("<i8", rows),
            counts=read.array("<i4", rows),
            basket_ms=read.array("<i8", baskets),
            applied_sequence=applied,
        )

    def _row_of(self, item_id: str, event_type: int) -> int | None:
        start = 0
        while True:
            try:
                row = self.item_ids.index(item_id, start)
            except ValueError:
                return None
            if self.event_types[row] == event_type:
                return row
            start = row + 1

    def _append(self, item_id: str, event_type: int, time_ms: int) -> None:
        self.item_ids.append(item_id)
        self.event_types = np.append(self.event_types, np.uint8(event_type))
        self.sums = np.vstack((self.sums, np.ones((1, len(self.half_lives_days)))))
        self.first_ms = np.append(self.first_ms, np.int64(time_ms))
        self.last_ms = np.append(self.last_ms, np.int64(time_ms))
        self.counts = np.append(self.counts, np.int32(1))

    def _take(self, rows: Int64[np.ndarray, " kept"]) -> "UserState":
        return type(self)(
            half_lives_days=self.half_lives_days,
            item_ids=[self.item_ids[row] for row in rows.tolist()],
            event_types=self.event_types[rows],
            sums=self.sums[rows],
            first_ms=self.first_ms[rows],
            last_ms=self.last_ms[rows],
            counts=self.counts[rows],
            basket_ms=self.basket_ms,
            applied_sequence=self.applied_sequence,
        )


def _split(block: bytes, starts: list[int], ends: list[int]) -> list[str]:
    """Strings that lie one behind the other; where letters are bytes, they are decoded all at once."""
    places = zip(starts, ends, strict=True)
    if block.isascii():
        text = block.decode()
        return [text[a:b] for a, b in places]
    return [block[a:b].decode() for a, b in places]


class _Reader:
    """Cuts typed, writable arrays off a byte string in order."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def bytes(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size
        return self._raw[start : self._at]

    def array(self, dtype: str, count: int) -> np.ndarray:
        return np.frombuffer(self.bytes(np.dtype(dtype).itemsize * count), dtype).copy()


def recent_rows(
    items: Int64[np.ndarray, " rows"],
    event_types: UInt8[np.ndarray, " rows"],
    last_ms: Int64[np.ndarray, " rows"],
    limit: int,
) -> Int64[np.ndarray, " recent"]:
    """Rows of the most recent distinct items, newest first; ties by item, then by event type, ascending.

    Args:
        items: Catalogue positions.
        event_types: Event type codes.
        last_ms: Time of each row's latest event.
        limit: Most rows to return.
    """
    order = np.lexsort((event_types, items, -last_ms))
    _, first = np.unique(items[order], return_index=True)
    return order[np.sort(first)[:limit]]
