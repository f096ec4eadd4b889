"""What a person is asked about, what matters most first."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from recsys.blurbs.book import Book
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.entry import Entry, State
from recsys.blurbs.review.case import Case, previous_text
from recsys.blurbs.review.judgement import Decision, Judgement, Occasion, approvers, complaints, judgements
from recsys.errors import BlurbError

_ORDER: Final = tuple(Occasion)


class Queue:
    """The cases of one book."""

    def __init__(self, book: Book, config: BlurbConfig) -> None:
        self._book, self._config = book, config

    def cases(self, reviewer: str) -> list[Case]:
        """What a reviewer may decide: texts that wait, then samples, then second opinions; heaviest first.

        Raises:
            BlurbError: The book cannot be read.
        """
        said = defaultdict(list)
        for one in judgements(self._book):
            said[one.key].append(one)
        found = [*self._waiting(said), *self._samples(), *self._doubles(said, reviewer)]
        mine = [case for case in found if not is_same(reviewer, case.approvals)]
        return sorted(mine, key=lambda case: (_ORDER.index(case.occasion), -case.weight, case.entry.blurb_id))

    def case(self, blurb_id: str, reviewer: str) -> Case:
        """The case of a text by its id.

        Raises:
            BlurbError: There is no such text, or nothing about it is to be decided by this reviewer.
        """
        entry = self._book.find_blurb(blurb_id)
        if entry is None:
            raise BlurbError(f"no text has the id {blurb_id!r}; see `recsys blurbs review --list`")
        said = judgements(self._book, entry.request.key)
        if entry.state is State.REVIEW:
            return self._of(entry, Occasion.WAITING, approvers(said, blurb_id))
        doubles = list(self._doubles({entry.request.key: said}, reviewer))
        if doubles:
            return doubles[0]
        if entry.state is State.APPROVED and not entry.is_reviewed:
            return self._of(entry, Occasion.SAMPLE)
        raise BlurbError(f"the text {blurb_id} is {entry.state}: there is nothing to decide about it")

    def _waiting(self, said: dict[str, list[Judgement]]) -> Iterator[Case]:
        for entry in self._book.entries("state = 'review'"):
            approvals = approvers(said.get(entry.request.key, []), entry.blurb_id)
            yield self._of(entry, Occasion.WAITING, approvals)

    def _samples(self) -> Iterator[Case]:
        for entry in self._book.entries("state = 'approved' AND source = 'GENERATED'"):
            if is_drawn("sample", entry.blurb_id, self._config.review_sample):
                yield self._of(entry, Occasion.SAMPLE)

    def _doubles(self, said: dict[str, list[Judgement]], reviewer: str) -> Iterator[Case]:
        for key, ones in said.items():
            if not ones:
                continue
            first = ones[-1]
            is_open = first.is_final and first.occasion is not Occasion.DOUBLE
            if not is_open or first.decision is Decision.EDITED:
                continue
            if is_same(reviewer, tuple(one.reviewer for one in ones)):
                continue
            entry = self._book.find(key)
            is_there = entry is not None and entry.blurb_id == first.blurb_id
            if is_there and is_drawn("double", first.blurb_id, self._config.review_doubles):
                assert entry is not None
                yield self._of(entry, Occasion.DOUBLE)

    def _of(self, entry: Entry, occasion: Occasion, approvals: tuple[str, ...] = ()) -> Case:
        is_high_risk = self._config.is_high_risk(entry.request.category)
        said = () if occasion is Occasion.DOUBLE else tuple(complaints(self._book, entry.request.key))
        return Case(entry, occasion, is_high_risk, approvals, said, previous_text(self._book, entry))


def is_same(name: str, names: tuple[str, ...]) -> bool:
    """Whether a person is one of these, however they write their name."""
    return name.strip().casefold() in {other.strip().casefold() for other in names}


def is_drawn(purpose: str, blurb_id: str, share: float) -> bool:
    """Whether a text is one of a random share; always the same answer, so that nobody can draw again."""
    drawn = int(hashlib.sha256(f"{purpose} {blurb_id}".encode()).hexdigest()[:8], 16)
    return drawn < share * 2**32
