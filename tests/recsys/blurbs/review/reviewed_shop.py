"""A shop whose texts a scripted model wrote: some pass, some wait for a person."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from recsys.blurbs.book import Book
from recsys.blurbs.book_file import BOOK_FILE
from recsys.blurbs.commands import blurbs
from recsys.workspace import Workspace
from tests.recsys.blurbs.scripted_server import Answer, said, scripted_server

ITEMS = {
    "spoon": ("Beech spoon", "Kitchen", "A spoon of beech, 30 cm long.", "beech", "30 cm"),
    "fork": ("Steel fork", "Kitchen", "A fork of steel, 18 cm long.", "steel", "18 cm"),
    "bowl": ("Oak bowl", "Kitchen", "An oak bowl, 24 cm wide.", "oak", "24 cm"),
    "train": ("Beech train", "Toys", "A train of beech, 40 cm long.", "beech", "40 cm"),
    "knife": ("Steel knife", "Kitchen", "A knife of steel, 20 cm long.", "steel", "20 cm"),
}
WRITTEN = {
    "spoon": "A spoon of beech, 30 cm long.",
    "fork": "A steel fork with zigzag tines, 18 cm long.",
    "bowl": "An oak bowl.",
    "train": "A train of beech.",
    "knife": "A knife of gold, 90 cm long.",
}


def write_shop(path: Path, settings: str = "") -> Path:
    """Generate; returns the workspace. *fork* and *train* wait for a person, *knife* is refused."""

    def describe(body: dict[str, Any]) -> Answer:
        content = body["messages"][-1]["content"]
        (name,) = [name for name, item in ITEMS.items() if f"title: {item[0]}" in content]
        return said(WRITTEN[name], "1", "3")

    rows = [
        {
            "item_id": name,
            "title": title,
            "category": [category],
            "description": description,
            "attributes": {"material": material, "length": length},
        }
        for name, (title, category, description, material, length) in ITEMS.items()
    ]
    items = path / "items.jsonl"
    items.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with scripted_server(describe) as server:
        config = f'[blurbs]\nbackend = "openai"\nmodel = "m"\nbase_url = "{server.url}"\n{settings}\n'
        (path / "recsys.toml").write_text(config, encoding="utf-8")
        asked(path, "generate", "--items", str(items))
    return path


def asked(path: Path, *words: str) -> Any:
    """The JSON document of a command."""
    done = CliRunner().invoke(blurbs, [*words, "--workspace", str(path), "--json"])
    assert done.exit_code == 0, done.output or done.exception
    return json.loads(done.stdout)


@contextmanager
def opened(path: Path) -> Iterator[Book]:
    """The shop's book."""
    with closing(Book(Workspace(path).state / BOOK_FILE)) as book:
        yield book


def waiting(path: Path, reviewer: str = "anna") -> dict[str, Any]:
    """What a reviewer is asked about, by item."""
    cases = asked(path, "review", "--list", "--reviewer", reviewer)
    return {case["item_id"]: case for case in cases}
