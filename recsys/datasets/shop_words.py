"""Turns a till's abbreviations into words that a shopper, and a text encoder, can read."""

import re

_WORD = re.compile(r"[a-z']+")
_JOINED = re.compile(r"\s*([:,;])\s*")
_CUT_OFF = " ,:;-&/("
_SMALL = frozenset({"and", "by", "for", "in", "not", "of", "or", "the", "to", "with", "all"})

_WORDS = {
    "bg": "bag",
    "bkd": "baked",
    "bn": "bean",
    "brkfst": "breakfast",
    "btl": "bottle",
    "btr": "butter",
    "carb": "carbonated",
    "chococlate": "chocolate",
    "chs": "cheese",
    "ckys": "cookies",
    "cleang": "cleaning",
    "cndy": "candy",
    "cntrl": "control",
    "crkr": "crackers",
    "crystl": "crystal",
    "dnrs": "dinners",
    "drnk": "drink",
    "drnks": "drinks",
    "drsng": "dressing",
    "dsh": "dish",
    "fd": "food",
    "fem": "feminine",
    "flvrd": "flavored",
    "frz": "frozen",
    "frzn": "frozen",
    "gds": "goods",
    "gm": "general merchandise",
    "hygn": "hygiene",
    "incl": "including",
    "jce": "juice",
    "misc": "miscellaneous",
    "mx": "mix",
    "mxs": "mixes",
    "pckgd": "packaged",
    "pk": "pack",
    "pkld": "pickled",
    "pnt": "peanut",
    "prem": "premium",
    "pwdr": "powder",
    "refrgratd": "refrigerated",
    "sald": "salad",
    "sft": "soft",
    "snks": "snacks",
    "sndwch": "sandwich",
    "sply": "supply",
    "sprd": "spread",
    "ss": "single serve",
    "suppplies": "supplies",
    "trsh": "trash",
    "veg": "vegetable",
    "wtr": "water",
}


def readable(name: str) -> str:
    """Write a till's name in words: abbreviations spelled out, words capitalised, what was cut off removed.

    >>> readable("FRZN SS PREMIUM ENTREES/DNRS/")
    'Frozen Single Serve Premium Entrees/Dinners'
    >>> readable("BREAD:ITALIAN/FRENCH")
    'Bread: Italian/French'
    """
    spaced = _JOINED.sub(r"\1 ", " ".join(name.lower().split()))
    spelled = _WORD.sub(_spelled, spaced)
    text = spelled.rstrip(_CUT_OFF)
    return text[:1].upper() + text[1:]


def _spelled(match: re.Match[str]) -> str:
    word = match.group()
    follows_digit = match.start() > 0 and match.string[match.start() - 1].isdigit()
    if follows_digit or word in _SMALL:
        return word
    return " ".join(part.capitalize() for part in _WORDS.get(word, word).split())
