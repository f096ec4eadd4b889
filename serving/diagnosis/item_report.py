"""What a diagnosis of an item holds, and the same in words."""

from dataclasses import dataclass
from datetime import datetime

from serving.diagnosis.history import ItemHistory
from serving.diagnosis.reach import Reach
from serving.diagnosis.standing import JsonDocument, Place


@dataclass(frozen=True)
class CatalogueEntry:
    """What the bundle's catalogue says of an item."""

    title: str
    available: bool
    text: str
    """What the encoder reads."""
    has_words: bool
    num_sharing_text: int
    """Other items with the same text, which is to say with the same vector."""
    popularity_rank: int | None
    """Place by engagement over the middle half-life, from 1; ``None`` without any."""


@dataclass(frozen=True)
class Exposure:
    """How an item fares with a sample of users, all of them counted and none named."""

    num_users: int
    """The users whose last event is newest."""
    num_candidate: int
    """Users to whom a source offers it."""
    by_source: dict[str, int]
    """The same by source."""
    removed: dict[str, int]
    """Users for whom a filter takes it out, by the filter's name."""
    num_listed: int
    """Users on whose list it stands, however far down."""
    num_top: int
    """Users who see it among the first ten."""
    best_rank: int | None
    median_rank: float | None


@dataclass(frozen=True)
class ForUser:
    """How an item fares with one user."""

    user_id: str
    sources: tuple[str, ...]
    """Sources that offer it to the user."""
    removed_by: tuple[str, ...]
    """Filters that take it out."""
    place: Place | None
    """Where it stands; ``None`` when it is not on the list."""
    tenth: Place | None
    """Where the first page ends, to compare with."""


@dataclass(frozen=True)
class ItemDiagnosis(JsonDocument):
    """What is known of an item at a moment, and where it comes to stand."""

    item_id: str
    as_of: datetime
    placement: str
    model_version: str
    entry: CatalogueEntry | None
    """``None`` when the bundle's catalogue does not hold it."""
    history: ItemHistory
    reach: tuple[Reach, ...]
    """What each source could do with it."""
    exposure: Exposure | None
    user: ForUser | None
    findings: tuple[str, ...]
    """The same in words, what matters most first."""


def findings(found: ItemDiagnosis) -> tuple[str, ...]:
    """Say what matters of an item that the catalogue holds."""
    said: list[str] = []
    if found.entry is not None:
        said += _about_entry(found.entry)
    if not found.history.events:
        said.append("Nobody ever touched it.")
    said += [
        f"{reach.source} cannot offer it: {reach.why}." for reach in found.reach if reach.can_offer is False
    ]
    if found.exposure is not None:
        said += _about_exposure(found.exposure)
    if found.user is not None:
        said += _about_user(found.user)
    return tuple(said)


def _about_entry(entry: CatalogueEntry) -> list[str]:
    said = []
    if not entry.available:
        said.append("It is marked as not available: it is never shown.")
    if not entry.has_words:
        said.append("It has no words: the text encoder knows nothing of it.")
    if entry.num_sharing_text:
        said.append(
            f"{entry.num_sharing_text:,} other items have the same text: words cannot tell them apart."
        )
    return said


def _about_exposure(exposure: Exposure) -> list[str]:
    users = f"the {exposure.num_users:,} most recent users"
    if not exposure.num_users:
        return ["There is no user to ask for."]
    if not exposure.num_candidate:
        return [f"No source offers it to any of {users}."]
    sources = ", ".join(f"{source} to {count:,}" for source, count in exposure.by_source.items())
    said = [f"It is offered to {exposure.num_candidate:,} of {users}: {sources}."]
    for name, count in exposure.removed.items():
        said.append(f"For {count:,} of them it is taken out: {name.replace('_', ' ')}.")
    if not exposure.num_listed:
        return said
    said.append(
        f"It stands on {exposure.num_listed:,} lists, at rank {exposure.best_rank:,} at best and "
        f"{exposure.median_rank:,.0f} in the middle; among the first ten of {exposure.num_top:,}."
    )
    if not exposure.num_top:
        said.append("The ranker puts ten others before it every time.")
    return said


def _about_user(user: ForUser) -> list[str]:
    if user.removed_by:
        words = ", ".join(name.replace("_", " ") for name in user.removed_by)
        return [f"For the user {user.user_id} it is taken out: {words}."]
    if user.place is None:
        return [f"No source offers it to the user {user.user_id}."]
    if not user.sources:
        return [f"The user {user.user_id} gets popular items, of which it is number {user.place.rank:,}."]
    said = [
        f"For the user {user.user_id} it is number {user.place.rank:,}, offered by {', '.join(user.sources)}."
    ]
    if user.tenth is not None and user.place.rank > user.tenth.rank:
        said.append(f"It scores {user.tenth.score - user.place.score:.3f} less than the tenth item.")
    return said
