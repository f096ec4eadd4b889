"""Which attributes are a shop's own business: no line is cut from them, and no model is told them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import regex

HIDDEN: Final = (
    "seller", "tags", "id", "ids", "uuid", "guid", "sku", "ean", "gtin", "upc", "asin", "mpn", "barcode",
    "code", "url", "link", "image", "images", "cost", "costs", "margin", "markup", "profit", "price",
    "prices", "wholesale", "supplier", "suppliers", "vendor", "internal", "note", "notes", "comment",
    "comments", "warehouse", "stock", "inventory", "kosten", "einkaufspreis", "preis", "marge", "gewinn",
    "lieferant", "lieferanten", "intern", "interne", "notiz", "notizen", "bemerkung", "artikelnummer",
    "bestellnummer", "kennung", "lager", "bestand", "lagerbestand", "编号", "货号", "条码", "成本",
    "进价", "价格", "利润", "毛利", "供应商", "内部", "备注", "库存", "仓库", "链接",
)  # fmt: skip
"""The default: words of attributes' names."""
_WORD: Final = regex.compile(r"\p{Lu}?[\p{Ll}\p{M}]+|\p{Lu}+(?!\p{Ll})|\p{Han}+|\d+")
_HAN: Final = regex.compile(r"\p{Han}")


@dataclass(frozen=True, slots=True)
class HiddenAttributes:
    """Tells by their names which attributes are hidden.

    Attributes:
        names: Words, in lower case; one with Chinese characters may stand anywhere in a name.
    """

    names: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str] = HIDDEN) -> "HiddenAttributes":
        """Hide attributes of whose names one of these is a word, as *id* is of ``manufacturer_id``.

        Args:
            names: Words, or whole names such as ``landed value``.
        """
        return cls(frozenset(" ".join(_words(name)) for name in names))

    def hide(self, attribute: str) -> bool:
        """Whether an attribute of this name is shown to nobody."""
        words = _words(attribute)
        if " ".join(words) in self.names or not self.names.isdisjoint(words):
            return True
        is_han = _HAN.search(attribute) is not None
        return is_han and any(name in attribute for name in self.names if _HAN.search(name))


def _words(name: str) -> list[str]:
    """The words of ``manufacturer_id``, ``manufacturerId`` and ``Manufacturer ID``."""
    return [word.lower() for word in _WORD.findall(name)]
