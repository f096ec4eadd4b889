"""The words of an item, as the text encoder reads them."""

from typing import Final

import polars as pl

from recsys.honest_text import FIELD_CHARS, honest_texts
from recsys.schema import BRAND, CATEGORY, DESCRIPTION, TAGS, TITLE

NO_WORDS: Final = "unknown"
"""The text of an item without words."""


def item_texts(items: pl.DataFrame) -> pl.Series:
    """Compose one line per item: title, the category levels it does not repeat, brand, tags, description.

    A category level whose words all stand in the title already is left out, so that a title composed from the
    category is not read twice. Text is lower-cased and white space collapsed, so that items with equal words
    share one text and are encoded once. What is meant to deceive an encoder is undone, see
    ``recsys.honest_text``.

    Args:
        items: Frame with the item columns of ``recsys.schema.ITEM_SCHEMA``.

    Returns:
        One string per item, never empty: an item without words reads ``NO_WORDS``.
    """
    levels = (
        items.lazy()
        .select(row=pl.int_range(pl.len()), title=_plain(pl.col(TITLE)), level=pl.col(CATEGORY))
        .explode("level", empty_as_null=True)
        .with_columns(level=_plain(pl.col("level")))
        .filter(_words("level").list.set_difference(_words("title")).list.len() > 0)
        .group_by("row")
        .agg(levels=pl.col("level").str.join(". "))
    )
    parts = ["title", "levels", "brand", "tags", "description"]
    texts = (
        items.lazy()
        .select(
            row=pl.int_range(pl.len()),
            title=_plain(pl.col(TITLE)).str.head(FIELD_CHARS["title"]),
            brand=_plain(pl.col(BRAND)).str.head(FIELD_CHARS["brand"]),
            tags=_plain(pl.col(TAGS).list.join(", ")).str.head(FIELD_CHARS["tags"]),
            description=_plain(pl.col(DESCRIPTION)).str.head(FIELD_CHARS["description"]),
        )
        .join(levels, on="row", how="left", maintain_order="left")
        .select(
            text=pl.concat_str(
                [pl.col(part).replace("", None) for part in parts], separator=". ", ignore_nulls=True
            )
        )
        .collect()["text"]
    )
    return honest_texts(texts.replace("", NO_WORDS))


def _plain(words: pl.Expr) -> pl.Expr:
    return words.fill_null("").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()


def _words(column: str) -> pl.Expr:
    return pl.col(column).str.extract_all(r"[\p{L}\p{N}]+")
