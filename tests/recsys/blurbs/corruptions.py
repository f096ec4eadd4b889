"""How a true sentence is made false, by kind. Written, and its output frozen, before the gate was tuned.

Phrases that are added differ between the halves, so that the unseen half also holds wording nobody tuned on.
"""

import random
import re
from collections.abc import Mapping

KINDS = ("number", "unit", "brand", "attribute", "claim", "price", "language")
_MARK = re.compile(r"\[\[([^|\]]+)\|([^\]]+)\]\]")
_DIGITS = re.compile(r"\d+(?:[.,]\d+)?")
_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "two": "three",
        "three": "four",
        "five": "six",
        "twelve": "ten",
        "dozen": "gross",
        "twenty": "forty",
        "six": "nine",
        "one": "two",
        "thousand": "million",
        "hour": "week",
        "whole gallon": "half gallon",
    },
    "de": {"zwölf": "zehn", "tausend": "zehntausend", "drei": "fünf"},
    "zh": {"一千多": "一万多", "三张": "五张", "六名": "八名"},
}
_UNITS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "en": (
        ("oz", "fl oz", "lb", "kg", "ct"),
        ("lb", "oz", "kg", "count"),
        ("gallon", "quart", "pound"),
        ("pound", "ounce", "liter"),
        ("pounds", "ounces", "liters"),
        ("minutes", "hours", "seconds"),
        ("ct", "oz", "lb"),
        ("count", "ounce", "inch"),
    ),
    "de": (
        ("kg", "g", "l"),
        ("g", "kg", "ml"),
        ("ml", "l", "g"),
        ("l", "ml", "kg"),
        ("Stück", "Gramm", "Liter"),
        ("Minuten", "Stunden", "Tage"),
    ),
    "zh": (
        ("千克", "克", "升"),
        ("毫升", "升", "克"),
        ("克", "千克", "毫升"),
        ("升", "毫升", "千克"),
        ("分钟", "小时", "秒"),
        ("个", "公斤", "米"),
        ("支", "公斤", "箱"),
    ),
}
_NUMBER_ADDED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        ("{} In a pack of 17.", "{} Serves 9.", "{} Made in 1871."),
        ("{} Comes with 23 extras.", "{} Three in a box.", "{} The 4th of its kind."),
    ),
    "de": (("{} Im Set mit 17 Stück.", "{} Reicht für 9 Portionen."), ("{} Mit 23 Extras.", "{} Seit 1871.")),
    "zh": (("{}共17件。", "{}适合9人。"), ("{}附赠23件。", "{}始于1871年。")),
}
_UNIT_ADDED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (("{} Weighs 31 kg.", "{} 45 cm tall."), ("{} Holds 8 liters.", "{} Runs for 19 hours.")),
    "de": (("{} Wiegt 31 kg.", "{} 45 cm hoch."), ("{} Fasst 8 Liter.", "{} Läuft 19 Stunden.")),
    "zh": (("{}重31千克。", "{}高45厘米。"), ("{}容量8升。", "{}可用19小时。")),
}
_BRANDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        ("Nestlé", "Kellogg's", "Netflix", "Sony", "Heinz"),
        ("Unilever", "Barilla", "Paramount", "Philips", "Del Monte"),
    ),
    "de": (("Nestlé", "Maggi", "Netflix", "Dr. Oetker"), ("Knorr", "Paramount", "Barilla", "Edeka")),
    "zh": (("雀巢", "索尼", "伊利", "Nestlé"), ("蒙牛", "飞利浦", "联合利华", "Barilla")),
}
_BRAND_ADDED: Mapping[str, tuple[str, ...]] = {
    "en": ("{0}'s own: {1}", "{1} Brought to you by {0}.", "{1} From {0}."),
    "de": ("{0}: {1}", "{1} Von {0}.", "{1} Hergestellt von {0}."),
    "zh": ("{0}：{1}", "{1}来自{0}。", "{1}{0}出品。"),
}
_CLAIMS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        (
            "{} Certified organic.",
            "{} The best you can get.",
            "{} Completely gluten-free.",
            "{} Award-winning.",
            "{} Clinically proven to lower cholesterol.",
            "{} Waterproof.",
            "{} Handmade in Italy.",
            "{} 100% natural.",
            "{} Satisfaction guaranteed.",
            "{} Eco-friendly.",
            "World-famous: {}",
            "{} Vegan.",
        ),
        (
            "{} FDA approved.",
            "{} Boosts your immune system.",
            "{} Sugar-free.",
            "{} BPA-free.",
            "{} Unbreakable.",
            "{} A must-have for everyone.",
            "{} Oscar-winning.",
            "{} Sustainably sourced.",
            "{} Number one in the world.",
            "{} Low in fat.",
            "{} Made in the USA.",
            "{} Lifetime warranty.",
            "{} Hypoallergenic.",
        ),
    ),
    "de": (
        (
            "{} Aus biologischem Anbau.",
            "{} Das Beste seiner Art.",
            "{} Glutenfrei.",
            "{} Preisgekrönt.",
            "{} Wasserdicht.",
            "{} Senkt den Cholesterinspiegel.",
        ),
        (
            "{} Dermatologisch getestet.",
            "{} Stärkt das Immunsystem.",
            "{} Ohne Zucker.",
            "{} Made in Germany.",
            "{} Klimaneutral.",
            "{} Mit lebenslanger Garantie.",
            "{} Vegan.",
        ),
    ),
    "zh": (
        ("{}有机认证。", "{}全网最好。", "{}无麸质。", "{}荣获大奖。", "{}防水。", "{}降低胆固醇。"),
        (
            "{}增强免疫力。",
            "{}无糖。",
            "{}德国制造。",
            "{}环保。",
            "{}终身质保。",
            "{}销量第一。",
            "{}纯天然。",
        ),
    ),
}
_PRICES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        (
            "{} Only $4.99.",
            "{} Now 20% off!",
            "{} In stock now.",
            "{} Free shipping.",
            "{} Rated 4.8 out of 5.",
            "{} Cheap and good.",
        ),
        (
            "{} Just 3 left!",
            "{} Was 12 EUR, now 9 EUR.",
            "{} Five stars from our customers.",
            "{} Delivered by tomorrow.",
            "{} Great value for money.",
            "{} On sale this week.",
            "{} Under ten dollars.",
            "{} Buy one, get one free.",
        ),
    ),
    "de": (
        (
            "{} Nur 4,99 €.",
            "{} Jetzt 20 % reduziert!",
            "{} Sofort lieferbar.",
            "{} Versandkostenfrei.",
            "{} Günstig.",
        ),
        (
            "{} Nur noch 3 Stück!",
            "{} Für unter zehn Euro.",
            "{} Mit 4,8 Sternen bewertet.",
            "{} Morgen bei dir.",
            "{} Im Angebot.",
            "{} Zum Sparpreis.",
        ),
    ),
    "zh": (
        ("{}仅售39元。", "{}现在八折！", "{}现货。", "{}包邮。", "{}好评如潮。"),
        ("{}仅剩3件！", "{}不到十块钱。", "{}五星好评。", "{}次日达。", "{}限时特价。", "{}超值优惠。"),
    ),
}
_OTHER_LANGUAGE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        ("{0}: genau das Richtige für einen schönen Abend.", "{0}，值得拥有。", "Un choix idéal : {0}."),
        (
            "Hier kommt {0}, passend für jeden Tag.",
            "推荐给你：{0}。",
            "Una buena elección para toda la familia: {0}.",
            "Découvrez {0} dès aujourd'hui.",
        ),
    ),
    "de": (
        ("{0}: just right for a nice evening.", "{0}，值得拥有。", "Un choix idéal : {0}."),
        (
            "Here comes {0}, good for every day.",
            "推荐给你：{0}。",
            "Een goede keuze voor het hele gezin: {0}.",
            "Découvrez {0} dès aujourd'hui.",
        ),
    ),
    "zh": (
        (
            "{0}: just right for a nice evening.",
            "{0}: genau das Richtige für einen schönen Abend.",
            "{0}をどうぞお楽しみください。",
        ),
        (
            "Here comes {0}, good for every day.",
            "Hier kommt {0}, passend für jeden Tag.",
            "{0}はいかがでしょうか。",
        ),
    ),
}


def true_text(marked: str) -> str:
    """The sentence as its left readings stand."""
    return _MARK.sub(r"\1", marked)


def corruptions(marked: str, title: str, language: str, half: int, draw: random.Random) -> dict[str, str]:
    """One false text per kind.

    Args:
        marked: A sentence with ``[[true|false]]``.
        title: The item's title, in its own language.
        language: ``en``, ``de`` or ``zh``.
        half: 0 for seen, 1 for unseen items.
        draw: Decides among phrases.
    """
    text = true_text(marked)
    brand = draw.choice(_BRANDS[language][half])
    return {
        "number": _number(text, language, half, draw),
        "unit": _unit(text, language, half, draw),
        "brand": draw.choice(_BRAND_ADDED[language]).format(brand, text),
        "attribute": _MARK.sub(r"\2", marked),
        "claim": draw.choice(_CLAIMS[language][half]).format(text),
        "price": draw.choice(_PRICES[language][half]).format(text),
        "language": draw.choice(_OTHER_LANGUAGE[language][half]).format(title),
    }


def _number(text: str, language: str, half: int, draw: random.Random) -> str:
    found = _DIGITS.search(text)
    if found:
        return text[: found.start()] + _other_number(found[0], draw) + text[found.end() :]
    for word, other in _WORDS[language].items():
        swapped = re.sub(rf"\b{word}\b" if language != "zh" else word, other, text, flags=re.IGNORECASE)
        if swapped != text:
            return swapped[0].upper() + swapped[1:]
    return draw.choice(_NUMBER_ADDED[language][half]).format(text)


def _other_number(digits: str, draw: random.Random) -> str:
    mark = "," if "," in digits else "."
    value = float(digits.replace(",", "."))
    other = draw.choice((value * 2, value + 1, value * 10, value / 2, value + 7))
    return f"{other:g}".replace(".", mark)


def _unit(text: str, language: str, half: int, draw: random.Random) -> str:
    for unit, *others in _UNITS[language]:
        pattern = rf"(?<=\d)([\s-]?){unit}(?![^\W_])" if language != "zh" else rf"(?<=\d)(){unit}"
        spelled = rf"\b((?:one|two|three|five|a|whole|zwölf)[\s-]){unit}\b"
        for wanted in (pattern, spelled):
            found = re.search(wanted, text, flags=re.IGNORECASE)
            if found:
                return text[: found.end(1)] + draw.choice(others) + text[found.end() :]
    return draw.choice(_UNIT_ADDED[language][half]).format(text)
