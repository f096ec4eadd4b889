"""Numbers and units, read as their languages write them."""

import pytest

from recsys.blurbs.lexicon import Lexicons
from recsys.blurbs.quantities import Quantity, Units

_LEXICONS = Lexicons.load()


def _units(language: str) -> Units:
    lexicon = _LEXICONS.of(language)
    assert lexicon is not None
    return lexicon.units


@pytest.mark.parametrize(
    ("language", "text", "dimension", "value"),
    [
        ("en", "0.64 kg", "mass", 640),
        ("en", "640g", "mass", 640),
        ("en", "5,000 mAh", "charge", 5000),
        ("en", "two pounds", "mass", 907.18474),
        ("en", "a gallon", "volume", 3785.41),
        ("en", "two dozen", "count", 24),
        ("en", "7 1/4 oz", "mass", 7.25 * 28.349523),
        ("en", "½ l", "volume", 500),
        ("en", "16 fl oz", "volume", 16 * 29.57353),
        ("en", "70.5 sQFT", "area", 70.5 * 929.0304),
        ("en", "3-inch", "length", 76.2),
        ("en", "70 percent", "share", 70),
        ("en", "1998", "", 1998),
        ("en", ".16 oz", "mass", 0.16 * 28.349523),
        ("de", "0,64 kg", "mass", 640),
        ("de", "1.299", "", 1299),
        ("de", "zwölf Stück", "count", 12),
        ("de", "ein Kilo", "mass", 1000),
        ("zh", "640克", "mass", 640),
        ("zh", "0.64千克", "mass", 640),
        ("zh", "500毫升", "volume", 500),
        ("zh", "两个", "count", 2),
        ("zh", "十二支", "count", 12),
    ],
)
def test_a_quantity_is_read(language: str, text: str, dimension: str, value: float) -> None:
    found = _units(language).find(text)
    assert any(
        quantity.dimension == dimension and quantity.values[0] == pytest.approx(value) for quantity in found
    ), found


def test_joined_numbers_share_their_unit() -> None:
    assert [quantity.dimension for quantity in _units("en").find("30 x 20 cm, 5-10 kg")] == [
        "length",
        "length",
        "mass",
        "mass",
    ]


def test_a_code_is_no_quantity() -> None:
    assert _units("en").find("IP67 4K MP3") == []


def test_facts_may_be_read_either_way() -> None:
    [quantity] = _units("en").find("1.299 g", either_way=True)
    assert quantity.values == (1.299, 1299)


def _one(text: str) -> Quantity:
    return _units("en").find(text)[0]


@pytest.mark.parametrize(("said", "known"), [("454 g", "16 oz"), ("0.64 kg", "640 g"), ("12 pieces", "12")])
def test_equal_quantities_support_each_other(said: str, known: str) -> None:
    assert _one(said).is_supported([_one(known)])


@pytest.mark.parametrize(("said", "known"), [("22 kg", "22 L"), ("426 g", "425 g"), ("12 kg", "12")])
def test_unequal_quantities_do_not(said: str, known: str) -> None:
    assert not _one(said).is_supported([_one(known)])
