"""What is wrong with a definition, in words that its author understands."""

from typing import Any

from pydantic import ValidationError

_MOST_SHOWN = 80  # characters of what came


def problems(error: ValidationError) -> list[str]:
    """Every wrong key: its path, what was expected, what came; not what merely follows from another."""
    found = error.errors(include_url=False)
    inner = {problem["loc"][:-depth] for problem in found for depth in range(1, len(problem["loc"]))}
    return [_words(p) for p in found if p["type"] != "too_short" or p["loc"] not in inner]


def _words(problem: Any) -> str:  # noqa: ANN401  # pydantic's ErrorDetails
    kind, given = problem["type"], problem["input"]
    path = ".".join(f"[{part}]" if isinstance(part, int) else str(part) for part in problem["loc"])
    path = path.replace(".[", "[")
    if kind == "value_error":
        words = str(problem["ctx"]["error"])
        return f"{path}: {words}" if path else words
    if kind == "missing":
        return f"{path}: expected a value, got none"
    if kind == "extra_forbidden":
        return f"{path}: expected no such key, got {_shown(given)}; see that it is spelled right"
    expected = problem["msg"].removeprefix("Input should ").removeprefix("be ")
    return f"{path}: expected {expected}, got {_shown(given)}"


def _shown(given: object) -> str:
    shown = repr(given)
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[: _MOST_SHOWN - 3]}..."
