"""What the log says about every item: who found it, who came back to it, and at what price."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.item_prior import ItemPrior
from recsys.schema import DAY_MS, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, PRICE, USER_ID

_PRIOR_USERS = 5.0
_RECENT_PRICES = 5


@dataclass(frozen=True, eq=False)
class ItemHistory:
    """Facts per catalogue position, as of the end of the data."""

    adoption: Float32[np.ndarray, "half_lives items"]
    """Users who touched the item for the first time, each decayed by the age of that: ``2^(-age / h)``."""
    newcomers: Float32[np.ndarray, "half_lives items"]
    """Users who touched the item at their very first time, decayed likewise."""
    users: Float32[np.ndarray, " items"]
    """Users who ever touched the item."""
    first_ms: Int64[np.ndarray, " items"]
    """First event, milliseconds since the epoch; 0 if there is none."""
    rebuy_rate: Float32[np.ndarray, " items"]
    """Share of the item's users who touched it at two or more times, shrunk towards the mean; NaN if nobody
    did."""
    gap_days: Float32[np.ndarray, " items"]
    """Median over those users of their mean days between two times; NaN if there is none."""
    price: Float32[np.ndarray, " items"]
    """Median unit price paid, else the catalogue's; NaN if neither is known."""
    recent_price: Float32[np.ndarray, " items"]
    """Mean of the last five unit prices paid; NaN if there is none."""
    fitted_until_ms: int
    """No event at or after this was seen; milliseconds since the epoch."""

    def extended(self, prior: ItemPrior, catalogue: Catalogue) -> "ItemHistory":
        """The history of more items, of which nobody had the later ones.

        How fast they win users is what their neighbours lend them; of what there is no rate of, nothing is
        known. A price that nobody paid is the catalogue's.
        """
        unpaid = np.isnan(_later(self.recent_price, catalogue, np.nan))
        return replace(
            self,
            adoption=np.stack([prior.extend(rates) for rates in self.adoption]),
            newcomers=np.stack([prior.extend(rates) for rates in self.newcomers]),
            users=_later(self.users, catalogue, 0.0),
            first_ms=np.pad(self.first_ms, (0, len(catalogue) - len(self.first_ms))),
            rebuy_rate=_later(self.rebuy_rate, catalogue, np.nan),
            gap_days=_later(self.gap_days, catalogue, np.nan),
            price=np.where(unpaid, _listed(catalogue), _later(self.price, catalogue, np.nan)),
            recent_price=_later(self.recent_price, catalogue, np.nan),
        )

    def without(self, items: Bool[np.ndarray, " items"], catalogue: Catalogue) -> "ItemHistory":
        """The history in which nobody ever touched some items, true per catalogue position."""
        return replace(
            self,
            adoption=np.where(items, np.float32(0), self.adoption),
            newcomers=np.where(items, np.float32(0), self.newcomers),
            users=np.where(items, np.float32(0), self.users),
            first_ms=np.where(items, 0, self.first_ms),
            rebuy_rate=np.where(items, np.float32(np.nan), self.rebuy_rate),
            gap_days=np.where(items, np.float32(np.nan), self.gap_days),
            price=np.where(items, _listed(catalogue), self.price),
            recent_price=np.where(items, np.float32(np.nan), self.recent_price),
        )


def fit_item_history(
    events: pl.LazyFrame, catalogue: Catalogue, config: StateConfig, until_ms: int
) -> ItemHistory:
    """Read the events of a positive type strictly before ``until_ms``.

    Args:
        events: Event log with ``effective_time``.
        catalogue: The items.
        config: Half-lives and weights.
        until_ms: End of the data, milliseconds since the epoch.
    """
    positive = [name for name, weight in config.event_weights.items() if weight > 0]
    seen = (
        events.filter(pl.col(EVENT_TYPE).is_in(positive), pl.col(EFFECTIVE_TIME).dt.epoch("ms") < until_ms)
        .select(
            USER_ID,
            PRICE,
            item=pl.col(ITEM_ID).replace_strict(catalogue.position, default=-1, return_dtype=pl.Int64),
            time=pl.col(EFFECTIVE_TIME).dt.epoch("ms"),
        )
        .filter(pl.col("item") >= 0)
    )
    by_item = _by_item(seen, config, until_ms).join(_prices(seen), on="item", how="left").collect()
    at = by_item["item"].to_numpy()

    def spread(name: str, empty: float = np.nan) -> Float32[np.ndarray, " items"]:
        values = np.full(len(catalogue), empty, np.float32)
        values[at] = by_item[name].cast(pl.Float32).fill_null(np.nan).to_numpy()
        return values

    users, back = (by_item[name].to_numpy().astype(np.float64) for name in ("users", "back"))
    mean = back.sum() / max(users.sum(), 1)
    rebuy = np.full(len(catalogue), np.nan, np.float32)
    rebuy[at] = (back + mean * _PRIOR_USERS) / (users + _PRIOR_USERS)
    first = np.zeros(len(catalogue), np.int64)
    first[at] = by_item["first_ms"].to_numpy()
    paid = spread("price")
    return ItemHistory(
        adoption=np.stack([spread(f"a{i}", 0.0) for i in range(len(config.half_lives_days))]),
        newcomers=np.stack([spread(f"n{i}", 0.0) for i in range(len(config.half_lives_days))]),
        users=spread("users", 0.0),
        first_ms=first,
        rebuy_rate=rebuy,
        gap_days=spread("gap_days"),
        price=np.where(np.isnan(paid), _listed(catalogue), paid),
        recent_price=spread("recent_price"),
        fitted_until_ms=until_ms,
    )


def _later(
    values: Float32[np.ndarray, " items"], catalogue: Catalogue, value: float
) -> Float32[np.ndarray, " all_items"]:
    """Values of the first items of a catalogue, followed by one value for the later ones."""
    return np.pad(values, (0, len(catalogue) - len(values)), constant_values=value)


def _listed(catalogue: Catalogue) -> Float32[np.ndarray, " items"]:
    """The catalogue's price per position; NaN where it has none."""
    prices: Float32[np.ndarray, " items"] = (
        catalogue.frame[PRICE].cast(pl.Float32).fill_null(np.nan).to_numpy()
    )
    return prices


def _by_item(seen: pl.LazyFrame, config: StateConfig, until_ms: int) -> pl.LazyFrame:
    times, first, last = pl.col("times"), pl.col("first_ms"), pl.col("last_ms")
    pairs = seen.group_by(USER_ID, "item").agg(
        first_ms=pl.col("time").min(), last_ms=pl.col("time").max(), times=pl.col("time").n_unique()
    )
    decayed = [pl.lit(2.0).pow(-(until_ms - first) / DAY_MS / h) for h in config.half_lives_days]
    is_first = first == first.min().over(USER_ID)
    return (
        pairs.with_columns(is_first=is_first)
        .group_by("item")
        .agg(
            *(sum_.sum().alias(f"a{i}") for i, sum_ in enumerate(decayed)),
            *(sum_.filter("is_first").sum().alias(f"n{i}") for i, sum_ in enumerate(decayed)),
            first.min(),
            users=pl.len(),
            back=(times > 1).sum(),
            gap_days=((last - first) / DAY_MS / (times - 1)).filter(times > 1).median(),
        )
    )


def _prices(seen: pl.LazyFrame) -> pl.LazyFrame:
    return (
        seen.drop_nulls(PRICE)
        .sort("time", "item", PRICE)
        .group_by("item")
        .agg(price=pl.col(PRICE).median(), recent_price=pl.col(PRICE).tail(_RECENT_PRICES).mean())
    )
