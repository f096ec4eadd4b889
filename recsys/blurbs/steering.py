"""Tells item text that speaks to a model from text that speaks to shoppers.

A field that does is no fact at all: what an attacker wants to be said would otherwise count as known, and a
text that obeys would be true. A false alarm costs an item some of its facts, never a false text.
"""

import re
from typing import Final

_PATTERNS: Final = (
    r"\b(?:ignore|disregard|forget|override|bypass|discard)\b.{0,60}"
    r"\b(?:instructions?|prompts?|rules?|guidelines?|above|previous|prior|earlier|facts?)\b",
    r"\bsystem\s*(?:prompt|message|note|override)\b",
    r"\byou\s+are\s+(?:now\b|an?\s+(?:ai|assistant|model|chatbot|bot)\b)",
    r"\b(?:as\s+an\s+ai|language\s+model|ai\s+assistants?|chatgpt|llms?)\b",
    r"\b(?:respond|reply|answer|output|print|repeat|say|write|state|append|insert|mention|include|begin|end)\b"
    r".{0,40}\b(?:only|exactly|verbatim|the\s+(?:following|words?|phrase|sentence|text|string|token|code))\b",
    r"\b(?:respond|reply|answer|output|print|repeat|say|write|state|include|mention)\b"
    r"(?:[^.!?]{0,15}[\"“„«]|\s*:)",
    r"\b(?:your|the)\s+(?:new\s+)?(?:blurb|output|answer|response|task|instructions?|role|reply)\s+"
    r"(?:must|should|shall|is|are|has\s+to)\b",
    r"\bnew\s+(?:instructions?|task|rules?|persona)\b",
    r"\b(?:used_facts|prompt\s+injection|jailbreak|canary|developer\s+mode|end\s+of\s+(?:data|facts|document))\b",
    r"\b(?:reveal|leak|show|tell)\b.{0,30}\b(?:prompt|instructions|secret\s+word|canary)\b",
    r"\b(?:decode|base64|rot13|translate)\b.{0,40}\b(?:follow|execute|obey|and\s+(?:say|write|print|output))\b",
    r"\b(?:ignorier\w*|vergiss|vergesst|missachte\w*)\b.{0,60}\b(?:anweisung\w*|regel\w*|vorgabe\w*|fakten)\b",
    r"\b(?:schreibe?|sage?|antworte|gib|wiederhole)\b.{0,30}(?:\b(?:nur|genau|wörtlich|aus)\b|[:\"„“»])",
    r"\b(?:ignore[rz]?|oublie[rz]?)\b.{0,60}\b(?:instructions?|consignes?|règles?)\b",
    r"\b(?:ignora|olvida|ignore)\b.{0,60}\b(?:instrucciones|reglas|indicaciones)\b",
    r"(?:忽略|无视|忘记|忽视).{0,20}(?:指令|指示|说明|规则|提示|要求|事实)",
    r"(?:输出|回答|回复|写出|写道|请说|说出|写)\s*[:：“”\"「]",
)
_STEERING: Final = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS), re.IGNORECASE)


def is_steering(text: str) -> bool:
    """Whether a text, sanitised, tells a model what to do."""
    return _STEERING.search(text) is not None
