"""Of whom a store that came back without some writes may know too little."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serving.event import Event, Merge


@dataclass(frozen=True)
class TopicRecord:
    """A record where it lies in the topic."""

    partition: int
    offset: int
    record: Event | Merge


def concerned(lying: Iterable[TopicRecord], noted: Mapping[int, int], merges: Iterable[Merge]) -> set[str]:
    """Everybody whose state has to be made anew.

    Those who did something that may be lost, and whoever is joined with one of them by a login that the log
    does not have: their states are carried over together, or not at all.

    Args:
        lying: What the log does not have, and what may be lost.
        noted: By partition, the first offset that may be lost.
        merges: The logins that the log has.
    """
    found, joined = set[str](), defaultdict[str, set[str]](set)
    for merge in merges:  # what the visitor does after it counts for the user
        joined[merge.visitor].add(merge.user_id)
    for one in lying:
        record = one.record
        people = (record.visitor, record.user_id) if isinstance(record, Merge) else (record.user_id,)
        for person in people:
            joined[person].update(people)
        if one.offset >= noted[one.partition]:
            found.update(people)
    waiting = list(found)
    while waiting:
        news = joined[waiting.pop()] - found
        found |= news
        waiting.extend(news)
    return found
