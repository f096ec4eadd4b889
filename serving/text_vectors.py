"""Vectors for the texts of new items: from the cache, or read here when it is this process's turn."""

import uuid
from collections.abc import Callable, Sequence

from recsys.live_parts import TextVectors
from recsys.text_reader import TextReader
from recsys.text_vector_cache import TextVectorCache

_AT_ONCE = 64
_TURN_SECONDS = 30.0


class TextVectorSource:
    """Reads texts so that of all processes one does; for one thread at a time."""

    def __init__(self, cache: TextVectorCache, load: Callable[[str], TextReader]) -> None:
        """Read nothing yet.

        Args:
            cache: What all processes share.
            load: Loads the encoders of a model version.
        """
        self._cache, self._load = cache, load
        self._name = uuid.uuid4().hex
        self._readers: dict[str, TextReader] = {}

    def prepare(self, version: str) -> None:
        """Have a version's encoders in memory, so that the first new text need not wait for them.

        Raises:
            RecsysError: They cannot be loaded.
        """
        if version not in self._readers:
            self._readers = {version: self._load(version)}  # the one of before makes room

    def find(self, version: str, texts: Sequence[str]) -> dict[str, TextVectors]:
        """Vectors of those texts that are there, or are this process's turn to read: some at a time.

        Raises:
            CatalogueError: The cache failed.
            RecsysError: The encoders cannot be loaded.
        """
        found = self._cache.find(version, texts)
        if len(found) == len(texts) or not self._cache.take_turn(version, self._name, _TURN_SECONDS):
            return found
        try:
            found |= self._cache.find(version, [text for text in texts if text not in found])
            missing = [text for text in texts if text not in found][:_AT_ONCE]
            if missing:
                self.prepare(version)
                read = dict(zip(missing, self._readers[version].read(missing), strict=True))
                self._cache.keep(version, read)
                found |= read
        finally:
            self._cache.end_turn(version, self._name)
        return found
