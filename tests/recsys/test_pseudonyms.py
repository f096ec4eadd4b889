"""Tests of pseudonyms for people's ids."""

import base64
import hmac
from pathlib import Path

import polars as pl
import pytest

from recsys.errors import ConfigError
from recsys.objections import ANONYMOUS_PREFIX
from recsys.pseudonyms import PREFIX, Pseudonyms
from recsys.schema import MAX_ID_BYTES
from recsys.workspace import Workspace

KEY = b"k" * 32


def test_a_pseudonym_is_the_keyed_hash_that_the_formula_says() -> None:
    of_tenant = hmac.digest(KEY, b"tenant\0shop", "sha256")
    expected = base64.urlsafe_b64encode(hmac.digest(of_tenant, b"ada", "sha256")[:24]).decode()
    assert Pseudonyms(KEY, "shop").of("ada") == PREFIX + expected
    assert len(expected) == 32


def test_people_tenants_and_keys_have_pseudonyms_of_their_own() -> None:
    makers = (Pseudonyms(KEY, "shop"), Pseudonyms(KEY, "other"), Pseudonyms(b"z" * 32, "shop"))
    assert len({maker.of(one) for maker in makers for one in ("ada", "bob")}) == 6


@pytest.mark.parametrize("one", ["", f"{ANONYMOUS_PREFIX}x", "x" * (MAX_ID_BYTES + 1)])
def test_what_no_person_is_called_stays_as_it_is(one: str) -> None:
    assert Pseudonyms(KEY, "shop").of(one) == one


def test_a_pseudonym_stays_itself_and_what_only_begins_like_one_does_not() -> None:
    made = Pseudonyms(KEY, "shop").of("ada")
    assert Pseudonyms(KEY, "shop").of(made) == made
    assert Pseudonyms(KEY, "shop").of(f"{PREFIX}ada") != f"{PREFIX}ada"


def test_a_column_is_made_like_single_ids_and_nobody_stays_nobody() -> None:
    pseudonyms, ids = Pseudonyms(KEY, "shop"), ["ada", None, "bob", "ada", ""]
    found = pseudonyms.column(pl.Series(ids)).to_list()
    assert found == [one if one is None else pseudonyms.of(one) for one in ids]


def test_they_are_made_only_where_asked_for_and_with_one_key(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert Pseudonyms.configured(workspace) is None
    workspace.config.write_text('[privacy]\npseudonymise = true\nkey_file = "own.key"\n')
    first, second = Pseudonyms.configured(workspace), Pseudonyms.configured(workspace)
    assert first is not None
    assert second is not None
    assert first.of("ada") == second.of("ada")
    (tmp_path / "own.key").write_text("short")
    with pytest.raises(ConfigError):
        Pseudonyms.configured(workspace)
