"""Makes the labelled set out of the sentences in ``labelled/*.txt`` and the items that they are about.

    python -m tests.recsys.blurbs.build_labelled RANKLENS_DIRECTORY ONLINE_RETAIL_DIRECTORY

Its output is frozen in the repository, and this is here to show how it came about: an item's half is decided
by a hash of its id, so an item and all its translations lie in one half.
"""

import json
import random
import re
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from recsys.datasets import complete_journey, online_retail, ranklens
from tests.recsys.blurbs.corruptions import corruptions, true_text

LABELLED = Path(__file__).parent / "labelled"
_SEED = 20_261_128
_FILES = ("films.en", "groceries.en", "gifts.en", "films.de", "groceries.de", "shop.zh")
_TEMPLATES = {
    "films.en": (
        "A [[{genre}|{other_genre}]] film by {director}, with {actor}.",
        "{title}: [[{genre}|{other_genre}]] from director {director}.",
    ),
    "groceries.en": (
        "[[{kind}|{other_kind}]] from {category}, {size}.",
        "{size} of [[{kind}|{other_kind}]].",
    ),
    "films.de": ("[[{genre}|{other_genre}]] von {director}, {runtime}.",),
    "groceries.de": ("[[{title}|{other_title}]] aus der Abteilung {category}.",),
    "shop.zh": ("[[{title}|{other_title}]]，属于{category}。",),
}


def main(ranklens_directory: str, retail_directory: str) -> None:
    """Write ``items.jsonl`` and ``texts.jsonl``."""
    sources = [
        ranklens.read(Path(ranklens_directory)).items,
        complete_journey.read().items,
        online_retail.read(Path(retail_directory)).items,
    ]
    known = {row["item_id"]: row for table in sources for row in table.iter_rows(named=True)}
    items, texts = [], []
    for name in _FILES:
        for item, sentences in _sections(name, known):
            half = _half(item["item_id"])
            items.append({"key": f"{name}/{item['item_id']}", "half": half, "item": item})
            texts += [text for sentence in sentences for text in _labelled(name, item, half, sentence)]
    _write("items.jsonl", items)
    _write("texts.jsonl", texts)


def _sections(name: str, known: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    lines = [line for line in (LABELLED / f"{name}.txt").read_text().splitlines() if line and line[0] != "#"]
    sections: list[tuple[dict[str, Any], list[str]]] = []
    for line in lines:
        if line.startswith("@"):
            sections.append((_translated(line) if "|" in line else _own(known[line[1:].strip()]), []))
        else:
            sections[-1][1].append(line)
    for place, (item, sentences) in enumerate(sections):
        templates = _TEMPLATES.get(name, ())
        filled = [_filled(template, item, sections[place - 1][0]) for template in templates]
        yield item, sentences + [sentence for sentence in filled if sentence]


def _own(row: dict[str, Any]) -> dict[str, Any]:
    attributes = {pair["key"]: pair["value"] for pair in row["attributes"] or []}
    item = {key: row[key] for key in ("item_id", "title", "description", "category", "brand") if row[key]}
    return item | ({"attributes": attributes} if attributes else {})


def _translated(line: str) -> dict[str, Any]:
    item_id, title, category, attributes, *description = (part.strip() for part in line[1:].split("|"))
    pairs = (pair.split("=", 1) for pair in attributes.split("; ") if pair)
    item = {"item_id": item_id, "title": title, "attributes": dict(pairs)}
    levels = category.split(" > ") if ">" in category else category.split(", ")
    return (
        item
        | {"category": levels}
        | ({"description": description[0]} if description and description[0] else {})
    )


def _filled(template: str, item: dict[str, Any], other: dict[str, Any]) -> str:
    fields = _fields(item) | {f"other_{key}": value for key, value in _fields(other).items()}
    swapped = next(
        fields.get(f"other_{key}", "") for key in ("genre", "kind", "title") if f"other_{key}" in template
    )
    try:
        return "" if _is_true_of(swapped, item) else template.format(**fields)
    except KeyError:
        return ""


def _is_true_of(words: str, item: dict[str, Any]) -> bool:
    known = json.dumps(item, ensure_ascii=False).lower()
    return all(word in known for word in re.findall(r"\w+", words.lower()))


def _fields(item: dict[str, Any]) -> dict[str, str]:
    attributes = item.get("attributes", {})
    fields = {
        "title": item["title"],
        "category": (item.get("category") or [""])[0],
        "kind": item["title"].split(",")[0],
    }
    if "director" in attributes or "Regie" in attributes:
        fields["director"] = attributes.get("Regie") or attributes["director"].title()
    if "Laufzeit" in attributes:
        fields["runtime"] = attributes["Laufzeit"]
    if attributes.get("package_size", "")[:1].isdigit():
        fields["size"] = attributes["package_size"].lower()
    if "genre" in attributes:
        fields["genre"] = attributes["genre"].split(", ")[0]
    elif "Regie" in attributes:
        fields["genre"] = item["category"][0]
    if "actors" in attributes:
        fields["actor"] = attributes["actors"].split(", ")[0].title()
    return fields


def _labelled(name: str, item: dict[str, Any], half: str, sentence: str) -> Iterator[dict[str, Any]]:
    language = name.rsplit(".", 1)[1]
    draw = random.Random(f"{_SEED}/{name}/{item['item_id']}/{sentence}")
    shared = {"item": f"{name}/{item['item_id']}", "language": language}
    text = true_text(sentence)
    yield shared | {"kind": "true", "text": text}
    for kind, false in corruptions(sentence, item["title"], language, half == "unseen", draw).items():
        if false == text:
            raise ValueError(f"the corruption {kind} leaves {text!r} as it is")
        yield shared | {"kind": kind, "text": false}


def _half(item_id: str) -> str:
    return ("seen", "unseen")[sha256(f"{_SEED}/{item_id}".encode()).digest()[0] % 2]


def _write(name: str, rows: list[dict[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    (LABELLED / name).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
