from recsys.errors import ModelConflictError, ObjectStoreError
from recsys.remote.torn import advice, torn_error

URL = "s3://shop/prefix"


def told(*names: str) -> str:
    return str(torn_error(URL, {name: advice(URL, name) for name in names}))


def test_every_kind_of_conflict_says_where_and_what_to_do() -> None:
    assert torn_error(URL, {}) is None
    assert isinstance(torn_error(URL, {"pointers": advice(URL, "pointers")}), ModelConflictError)
    assert isinstance(torn_error(URL, dict.fromkeys(("items", "pointers"), "")), ObjectStoreError)
    text = told("users", "pointers", "items", "log/a")
    assert text.startswith(f"changed here, and in {URL} by another machine")
    assert f"items, users: take the store's with: recsys remote pull {URL} --theirs; then ingest" in text
    assert f"pointers: take the store's with: recsys remote pull {URL} --theirs; then promote" in text
    assert "log/a: other events were appended there" in text


def test_of_many_conflicts_some_are_named() -> None:
    assert "log/a0, log/a1, log/a10, log/a11, log/a12 and 95 more: " in told(
        *(f"log/a{n}" for n in range(100))
    )
