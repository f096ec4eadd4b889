"""Everything that a reviewer sits down to: the book, the gate, the queue and the desk."""

from functools import cached_property

from recsys.blurbs.book import Book
from recsys.blurbs.book_file import BOOK_FILE
from recsys.blurbs.lexicon import Lexicons
from recsys.blurbs.review.agreement import sample_check
from recsys.blurbs.review.case import Case
from recsys.blurbs.review.desk import Desk
from recsys.blurbs.review.judgement import judgements
from recsys.blurbs.review.queue import Queue
from recsys.blurbs.review.terms import Terms
from recsys.blurbs.shop_gate import shop_gate, shop_lexicons
from recsys.config import load_config
from recsys.errors import BlurbError
from recsys.workspace import Workspace


class Room:
    """One reviewer's; close it at the end."""

    def __init__(self, workspace: Workspace, reviewer: str) -> None:
        """Open the shop's book.

        Raises:
            BlurbError: There is none, or it cannot be read.
            ConfigError: ``recsys.toml`` or a lexicon cannot be read.
        """
        path = workspace.state / BOOK_FILE
        if not path.exists():
            raise BlurbError(f"there is no book {path}; `recsys blurbs generate` writes blurbs")
        config = load_config(workspace.config).blurbs
        self.reviewer, self._workspace, self._config = reviewer, workspace, config
        self._book = Book(path)
        self._queue = Queue(self._book, config)
        self.terms = Terms(self._book, workspace, reviewer, config.nli)

    @cached_property
    def lexicons(self) -> Lexicons:
        """The shop's lexicons."""
        return shop_lexicons(self._workspace)

    @cached_property
    def desk(self) -> Desk:
        """Where this reviewer decides."""
        gate = shop_gate(self._workspace, nli=self._config.nli, lexicons=self.lexicons)
        return Desk(self._book, gate, self._config, self.reviewer)

    def cases(self, limit: int) -> list[Case]:
        """What this reviewer may decide, heaviest first."""
        return self._queue.cases(self.reviewer)[:limit]

    def case(self, blurb_id: str) -> Case:
        """One of them, by the id of its text."""
        return self._queue.case(blurb_id, self.reviewer)

    def sample_words(self) -> str:
        """What samples say about the texts that nobody read."""
        return sample_check(judgements(self._book)).words

    def close(self) -> None:
        """Close the book."""
        self._book.close()
