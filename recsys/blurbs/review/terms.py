"""Words that a reviewer adds while reading: allowed ones to the lexicon, forbidden ones to the book."""

from typing import Any

import yaml

from recsys.blurbs.book import Book
from recsys.blurbs.gate import Gate
from recsys.blurbs.generator import wall_ms
from recsys.blurbs.lexicon import Lexicons
from recsys.blurbs.revocation import revoke
from recsys.blurbs.shop_gate import FROM_REVIEW, shop_gate, shop_lexicons
from recsys.errors import ConfigError
from recsys.workspace import Workspace, atomic_path


class Terms:
    """What one reviewer adds; each leaves its line in the audit."""

    def __init__(self, book: Book, workspace: Workspace, reviewer: str, nli: str = "") -> None:
        self._book, self._workspace, self._reviewer, self._nli = book, workspace, reviewer, nli

    def allow(self, language: str, word: str) -> tuple[Gate, Lexicons]:
        """Let a word be said of anything, in one language: it promises nothing that a fact had to prove.

        It goes into a file of its own beside those that people write; the next run checks all texts again.

        Returns:
            The gate and the lexicons that know it.

        Raises:
            ConfigError: It is more than one word, or there is no lexicon of the language.
        """
        word = word.strip().casefold()
        if not word or len(word.split()) > 1:
            raise ConfigError(f"expected one word to allow, got {word!r}")
        lexicon = shop_lexicons(self._workspace).of(language)
        if lexicon is None:
            raise ConfigError(f"no lexicon of {language!r}, so that no word can be added to it")
        _add(self._workspace, lexicon.language, word)
        with self._book.file.transaction():
            detail = {"language": lexicon.language, "word": word}
            self._book.file.note(wall_ms(), self._reviewer, "word allowed", detail=detail)
        lexicons = shop_lexicons(self._workspace)
        return shop_gate(self._workspace, nli=self._nli, lexicons=lexicons), lexicons

    def forbid(self, term: str) -> int:
        """Withdraw all texts with a term, and let no text with it through.

        Returns:
            How many were withdrawn.
        """
        return revoke(self._book, "term", term, wall_ms(), self._reviewer)


def _add(workspace: Workspace, language: str, word: str) -> None:
    path = workspace.lexicons / FROM_REVIEW / f"{language}.yaml"
    tree: dict[str, Any] = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
    words = sorted({*tree.get("neutral", ()), word})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_text(yaml.safe_dump(tree | {"neutral": words}, allow_unicode=True), encoding="utf-8")
