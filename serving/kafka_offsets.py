"""How far the event log has come in each partition of a topic: its own names say so, and nobody else.

An append from a partition is named for the offsets that it covers, and the log takes a name once. So whoever
reads a partition begins behind the last offset that the log names, and neither loses a record nor doubles
one, whatever the brokers remember of the group and whoever read the partition before.
"""

import re

from recsys.event_log import EventLog


def append_name(topic: str, partition: int, first: int, last: int) -> str:
    """The name of the append of some records.

    Args:
        topic: The topic.
        partition: Number of the partition.
        first: Offset of the first record.
        last: Offset of the last record; all in between are in the log, or in it already.

    >>> append_name("events", 3, 100, 199)
    'kafka-events-3-100-199'
    """
    return f"kafka-{topic}-{partition}-{first}-{last}"


def next_offset(event_log: EventLog, topic: str, partition: int) -> int | None:
    """Offset of the first record of a partition that the log lacks; ``None`` when it has none of them."""
    return next_offsets(event_log, topic).get(partition)


def next_offsets(event_log: EventLog, topic: str) -> dict[int, int]:
    """The same of every partition of which the log has a record."""
    named = re.compile(rf"kafka-{re.escape(topic)}-(\d+)-\d+-(\d+)")
    found: dict[int, int] = {}
    for match in filter(None, map(named.fullmatch, event_log.names())):
        partition, behind = int(match[1]), int(match[2]) + 1
        found[partition] = max(found.get(partition, 0), behind)
    return found
