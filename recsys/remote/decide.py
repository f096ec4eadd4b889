"""What is new here, what is new in the store, and what was changed on both sides since they were in step."""

from collections.abc import Collection
from dataclasses import dataclass, field

from recsys.manifest import SIGNATURE
from recsys.remote.head import Head
from recsys.remote.record import Record
from recsys.remote.units import SET_ASIDE, Part, Unit, Units, is_of, kind_of


@dataclass
class Differences:
    """Names of units by what is to become of them; what is the same here and there is in none."""

    to_send: list[str] = field(default_factory=list)
    """New or changed here alone."""
    to_take: list[str] = field(default_factory=list)
    """New or changed there alone, or not held here."""
    to_mend: list[str] = field(default_factory=list)
    """Changed on both sides, but what is there counts: here it is only to be done again."""
    torn: list[str] = field(default_factory=list)
    """Changed on both sides, and somebody has to choose."""
    gone_here: list[str] = field(default_factory=list)
    gone_there: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    """New or changed here, where only some of its files are: nothing can be made of that."""
    set_aside: list[str] = field(default_factory=list)
    """New here, but some of its files were damaged and are not here any more."""
    doubling: list[str] = field(default_factory=list)
    """What holds events that are under another name where it would go."""


def differences(record: Record, here: Units, head: Head, parts: Collection[Part]) -> Differences:
    """Compare the units of some parts of a workspace with a store's.

    Args:
        record: How both were when in step.
        here: The workspace's units now.
        head: The store now.
        parts: Of what.
    """
    found = Differences()
    for name in sorted({*here, *head.units, *record.units}):
        if is_of(name, parts):
            _sort(found, name, record, here.get(name), head)
    return found


def unsendable(found: Differences, here: Units, head: Head) -> dict[str, str]:
    """What the store lacks and cannot have from here, and why."""
    reasons: dict[str, str] = {}
    for name in found.set_aside:
        files = ", ".join(path for path, content in here[name].items() if content == SET_ASIDE)
        reasons[name] = (
            f"{files} was damaged and set aside, and the store never had it; restore events/ from a backup, "
            "push it from a machine that has it whole, or give it up: recsys log forget-damaged"
        )
    if cut := [name for name in found.partial if name not in head.units]:
        reasons["event log"] = (
            f"{len(cut):,} appends, such as {cut[0]}, are held for a shard of users only, and the store has "
            "none of them; push them from a machine that holds the whole log"
        )
    return reasons


def _sort(found: Differences, name: str, record: Record, here: Unit | None, head: Head) -> None:
    there = head.contents(name) if name in head.units else None
    step = record.units.get(name)
    if here == there:
        return
    if here is not None and SET_ASIDE in here.values():
        (found.set_aside if there is None else found.to_mend).append(name)
        return
    if here is None:
        was_deleted = step is not None and kind_of(name) == "lists" and step.there == there
        (found.gone_here if was_deleted else found.to_take).append(name)
    elif there is None:
        unchanged = step is not None and step.here == here and kind_of(name) == "lists"
        if record.is_cut(name):
            found.partial.append(name)
        else:
            (found.gone_there if unchanged else found.to_send).append(name)
    elif step is not None and step.here == here:
        if step.there != there:
            found.to_take.append(name)
    elif step is not None and step.there == there:
        (found.to_send if step.is_whole else found.partial).append(name)
    else:
        _sort_torn(found, name, step.there if step else None, here, there)


def _sort_torn(found: Differences, name: str, before: Unit | None, here: Unit, there: Unit) -> None:
    """What both changed. Appends and lists change when somebody is erased, or they are pruned or cut anew."""
    kind = kind_of(name)
    if kind == "log" and before is None and _files(there) < _files(here):
        found.torn.append(name)  # a part of it, which somebody sent as the whole
    elif kind in {"log", "layout", "lists"}:
        found.to_mend.append(name)
    elif kind in {"items", "users"}:
        last = max(before, default="") if before else ""
        new_here, new_there = max(here) > last, max(there) > last
        if before and not (new_here and new_there):  # the other one was only rewritten without somebody
            (found.to_send if new_here else found.to_mend).append(name)
        else:
            found.torn.append(name)
    elif kind == "bundle" and _unsigned(here) == _unsigned(there):
        (found.to_send if len(here) > len(there) else found.to_take).append(name)
    else:
        found.torn.append(name)


def _files(append: Unit) -> set[str]:
    return {path for path in append if not path.startswith("events/_commits/")}


def _unsigned(bundle: Unit) -> Unit:
    return {path: content for path, content in bundle.items() if not path.endswith(f"/{SIGNATURE}")}
