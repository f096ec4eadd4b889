"""LightGBM without scikit-learn and pandas, which it imports where they are installed.

Nothing here hands it their objects, and importing them takes longer than everything else of a server's start.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _as_if_absent(*names: str) -> Iterator[None]:
    """Let imports of packages fail that nobody has imported yet."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None says that there is no such module
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


with _as_if_absent("sklearn", "pandas"):
    import lightgbm

__all__ = ["lightgbm"]
