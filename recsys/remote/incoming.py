"""What a pull has brought so far goes when somebody is erased, who may be in it; then it begins again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys.remote.transfer import ChangedFileError

_BEGUN = ".begun"


class RemovedMeanwhileError(ChangedFileError):
    """What was brought was removed before it was in its place."""


@contextmanager
def needed(incoming: Path) -> Iterator[None]:
    """Say so when something fails because the directory of what is brought was removed.

    Raises:
        RemovedMeanwhileError: It failed for that.
    """
    incoming.mkdir(parents=True, exist_ok=True)
    (incoming / _BEGUN).touch()
    try:
        yield
    except Exception as error:  # whatever it came to: without what was brought, anything may fail
        if (incoming / _BEGUN).exists():
            raise
        raise RemovedMeanwhileError(
            "somebody was erased meanwhile, and what was brought so far went with it; run it again"
        ) from error
