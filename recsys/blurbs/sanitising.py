"""Takes out of item text what only a machine would read: hidden characters, markup, chat tokens, payloads.

Item text may come from a seller who wants the model to say something else. This makes attacks harder; what
decides is the gate on the model's answer.
"""

import html
import re
import unicodedata
from typing import Final

MAX_PROMPT_CHARS: Final = 600
"""Most characters of one field that a model is shown."""

_SIGNS: Final = frozenset("²³¹½¼¾™®©°…")  # compatibility characters that shoppers read as they are
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
_SELECTORS: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_BLOCKS: Final = re.compile(r"<!--.*?(?:-->|$)|<(script|style)\b.*?(?:</\1\s*>|$)", re.DOTALL | re.IGNORECASE)
_CHAT_TOKENS: Final = re.compile(r"<\|[^<>]{0,60}\|>|\[/?INST\]|<<?/?SYS>>?|</?s>", re.IGNORECASE)
_TAGS: Final = re.compile(r"</?[A-Za-z][^<>]{0,500}>")
_IMAGES: Final = re.compile(r"!\[[^\]]*\]\([^)]*\)?")
_LINKS: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)?")
_ADDRESSES: Final = re.compile(r"\b(?:https?://|www\.|data:)\S+", re.IGNORECASE)
_MARKS: Final = re.compile(r"[`*_#]{2,}|^\s{0,3}#+\s", re.MULTILINE)
_PAYLOADS: Final = re.compile(r"(?=[A-Za-z0-9+/_-]*[0-9])(?=[A-Za-z0-9+/_-]*[A-Z])[A-Za-z0-9+/_-]{32,}={0,2}")
_ROLES: Final = re.compile(
    r"(?:^|(?<=[\n.;!?>\]]))\s*(?:system|assistant|user|developer|human|tool|instructions?|prompt)\s*:",
    re.IGNORECASE,
)
_MOST_ROUNDS: Final = 4  # markup may hide markup: &lt;!-- or [[a](b)](c)


def sanitised(text: str) -> str:
    """The text that a shopper would have read, on one line, without anything meant for machines."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_visible, text))
    for _ in range(_MOST_ROUNDS):
        before, text = text, _without_markup(html.unescape(text))
        if text == before:
            break
    return " ".join(unicodedata.normalize("NFC", _ROLES.sub(" ", text)).split())


def cut(text: str, most_chars: int = MAX_PROMPT_CHARS) -> str:
    """At most so many characters, cut after a word."""
    if len(text) <= most_chars:
        return text
    head = text[:most_chars]
    return head.rsplit(maxsplit=1)[0] if " " in head else head


def _visible(character: str) -> str:
    if character in _SIGNS or (character.isascii() and character.isprintable()):
        return character
    if character in "\n\t\r\u2028\u2029":
        return "\n"
    if _SELECTORS.match(character) or unicodedata.category(character) in _HIDDEN:
        return ""
    return unicodedata.normalize("NFKC", character)


def _without_markup(text: str) -> str:
    for pattern in (_BLOCKS, _CHAT_TOKENS):
        text = pattern.sub("\n", text)  # a line's end: what follows may be a role
    for pattern in (_TAGS, _IMAGES):
        text = pattern.sub(" ", text)
    text = _LINKS.sub(r"\1", text)
    for pattern in (_ADDRESSES, _PAYLOADS, _MARKS):
        text = pattern.sub(" ", text)
    return text
