"""``recsys blurbs check``: its document, its exit codes, and a shop's own words."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from recsys.cli import run

_BLURBS = EntryPoint("blurbs", "recsys.blurbs.commands:blurbs", "recsys.commands")
_ITEM = {
    "item_id": "1",
    "title": "Trail Jacket",
    "attributes": {"material": "nylon", "weight": "640 g"},
    "price": {"amount": 129, "currency": "EUR"},
}


def _check(tmp_path: Path, text: str, *more: str, item: object = _ITEM) -> int:
    file = tmp_path / "item.json"
    file.write_text(json.dumps(item))
    words = ["blurbs", "check", "--item", str(file), "--text", text, "--workspace", str(tmp_path), *more]
    return run(words, [_BLURBS])


def _document(printed: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(printed)
    return document


def test_a_text_that_passes_has_exit_code_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _check(tmp_path, "A trail jacket of 0.64 kg, made of nylon.", "--language", "en", "--json") == 0
    document = _document(capsys.readouterr().out)
    assert (document["verdict"], document["reasons"]) == ("pass", [])


def test_a_rejected_text_has_exit_code_1_and_its_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _check(tmp_path, "A waterproof trail jacket.", "--json") == 1
    document = _document(capsys.readouterr().out)
    assert document["verdict"] == "reject"
    first = document["reasons"][0]
    assert (first["code"], first["evidence"], first["start"]) == ("claim_waterproof", "waterproof", 2)


def test_a_text_for_a_person_has_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _check(tmp_path, "A trail jacket of nylon for foxes.") == 3
    assert "foxes" in capsys.readouterr().out


def test_a_shop_adds_words_of_its_own(tmp_path: Path) -> None:
    lexicons = tmp_path / "lexicons"
    lexicons.mkdir()
    (lexicons / "en.yaml").write_text("neutral: [foxes]\nforbidden: {stock: [in our shop]}\n")
    assert _check(tmp_path, "A trail jacket of nylon for foxes.") == 0
    assert _check(tmp_path, "A trail jacket of nylon, in our shop.") == 1


@pytest.mark.parametrize(
    ("item", "complaint"), [([_ITEM], "expected one item"), (_ITEM | {"attributes": "x"}, "attributes")]
)
def test_what_is_no_item_is_told(
    item: object, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _check(tmp_path, "A jacket.", item=item) == 1
    assert complaint in capsys.readouterr().err
