"""The gate on classes of false texts, with true ones beside them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from recsys.blurbs.facts import Facts
from recsys.blurbs.gate import Gate
from recsys.blurbs.lexicon import Lexicons

_GATE: Final = Gate(Lexicons.load(), brands=["Kettle Row"])


def _facts(title: str, **rest: Any) -> Facts:
    return Facts.of({"item_id": "1", "title": title} | rest)


_SPREAD = _facts(
    "Hazelnut Spread",
    brand="Kettle Row",
    category=["Grocery", "Spreads"],
    description="A spread of hazelnuts and cocoa for bread and pancakes. Contains soy.",
    attributes={"allergens": "hazelnut, soy, milk", "net_weight": "350 g"},
)
_BLOCKS = _facts(
    "Stacking Blocks",
    category=["Toys", "Building"],
    description="Blocks of maple in a bag. Not suitable for children under 3 years. Six colours.",
    attributes={"age": "3+", "material": "maple", "pieces": "40"},
)
_TENT = _facts(
    "Ridge Tent",
    category=["Outdoor", "Tents"],
    description="A light tent with two doors and a porch for hiking. Sleeps three people. It keeps wind out.",
    attributes={"colour": "olive", "material": "nylon", "weight": "2.1 kg", "waterproof": "no"},
)
_SUPPE = _facts(
    "Selleriesuppe",
    category=["Lebensmittel", "Suppen"],
    description="Suppe aus Sellerie und Sahne im Glas.",
    attributes={"zutaten": "Sellerie, Sahne, Senf", "inhalt": "400 ml"},
)
_ZELT = _facts(
    "Zelt Grat",
    category=["Outdoor", "Zelte"],
    description="Leichtes Zelt mit zwei Türen und Vordach zum Wandern. Nicht für Kinder unter 3 Jahren.",
    attributes={"farbe": "oliv", "material": "Nylon", "gewicht": "2,1 kg", "wasserdicht": "nein"},
)
_MIAN = _facts(
    "芝麻面",
    category=["食品", "面条"],
    description="芝麻酱拌面，含花生。",
    attributes={"配料": "小麦，芝麻，花生", "净含量": "300克"},
)
_ZHANG = _facts(
    "山脊 帐篷",
    category=["户外", "帐篷"],
    description="轻便帐篷，两个门和门廊，适合徒步。不适合三岁以下儿童。",
    attributes={"颜色": "橄榄绿", "材质": "尼龙", "重量": "2.1千克", "防水": "否"},
)
_LANTERN = _facts(
    "Harbour Lantern",
    category=["Gifts", "Lanterns"],
    description="A lantern of cream metal with four glass panes and a rope handle. Stand it on a stone step.",
    attributes={"colour": "cream", "material": "metal"},
)
_STEW = _facts(
    "Bean Stew, 15 oz",
    category=["Grocery", "Stews"],
    description="Stew of beans with carrots in a can. Serve over rice or with bread and cheese.",
    attributes={"ingredients": "beans, carrots, onion"},
)
_CREAM = _facts(
    "Hand Cream Almond",
    category=["Beauty", "Hand Care"],
    description="A rich cream with almond oil and beeswax. The lid is black. For gardening. "
    "Packed in a metal tube.",
)
_FILM = _facts(
    "Harbour Lights",
    description="A sailor leaves her island in a wooden boat with a teacher.",
    attributes={"director": "maria stone", "genre": "drama"},
)
_KERZE = _facts(
    "Duftkerze Lavendel",
    category=["Wohnen", "Kerzen"],
    description="Kerze aus Sojawachs im Glas mit Deckel aus Kork. Etikett aus Papier.",
)
_BEI = _facts(
    "陶瓷茶杯",
    category=["家居", "杯具"],
    description="白色陶瓷茶杯，配木质杯盖和竹托盘，适合泡绿茶。",
    attributes={"材质": "陶瓷", "颜色": "白色"},
)
_BING = _facts(
    "燕麦饼干",
    category=["食品", "饼干"],
    description="燕麦和蜂蜜做成的饼干，适合配牛奶和咖啡。",
    attributes={"配料": "燕麦，蜂蜜"},
)

_STOPPED: Final[Mapping[str, tuple[tuple[Facts, str, tuple[str, ...]], ...]]] = {
    "allergens denied": (
        (_SPREAD, "en", (
            "Hazelnuts have been kept out of this spread.",
            "Hazelnut spread. Soy? Not a drop.",
            "A hazelnut spread where milk is nowhere to be found.",
            "Cocoa spread in place of hazelnuts, never with soy.",
            "Say goodbye to soy with this spread.",
            "Hazelnut spread, hardly any milk.",
            "The spread that does away with soy.",
            "A spread that spares you hazelnuts.",
            "Cocoa spread; hazelnut was removed.",
            "Hazelnut spread, safe with a milk allergy.",
            "Spread in which hazelnuts play no part.",
            "Spread with 350 g hazelnuts.",
        )),
        (_SUPPE, "de", (
            "Suppe, in der Sellerie fehlt.",
            "Suppe; auf Sahne wird verzichtet.",
            "Suppe statt Sellerie.",
            "Sahne? Sucht man hier vergebens.",
            "Senf ist in der Suppe nicht enthalten.",
            "Suppe aus Sellerie, kaum Sahne.",
            "Suppe im Glas: Sellerie und Sahne bleiben außen vor.",
        )),
        (_MIAN, "zh", (
            "拌面，花生已去除。", "芝麻面，远离花生。", "花生？没有。",
            "不含芝麻的拌面。", "芝麻面，告别小麦。",
        )),
    ),
    "for whom it is not": (
        (_BLOCKS, "en", (
            "Blocks of maple for children under 3 years.",
            "Blocks of maple for babies.",
            "Maple blocks for your child.",
            "Blocks for up to 3 years.",
            "Give these blocks to a toddler.",
            "Suitable for children: blocks of maple.",
        )),
        (_ZELT, "de", (
            "Leichtes Zelt für Kinder unter 3 Jahren.",
            "Leichtes Zelt, für Kinder geeignet.",
            "Ein Zelt für Babys.",
            "Ein leichtes Zelt bis 3 Jahre.",
        )),
        (_ZHANG, "zh", ("轻便帐篷，适合三岁以下儿童。", "适合儿童的帐篷。", "帐篷，送给宝宝。")),
        (_TENT, "en", ("A light tent for women.", "A light tent for boys.")),
    ),
    "counts of something else": (
        (_TENT, "en", (
            "A tent with two porches.",
            "Two tents with a porch.",
            "A tent with three doors.",
            "A light tent with several porches.",
            "A tent with 2.1 kg doors.",
            "A tent with a door of 2.1 kg per person.",
            "A light tent with many doors.",
            "A tent with olive doors.",
        )),
        (_BLOCKS, "en", ("Blocks for 40 children.", "Blocks with six bags.", "Forty bags of maple.")),
        (_ZELT, "de", (
            "Ein Zelt mit zwei Vordächern.", "Zwei Zelte zum Wandern.", "Ein Zelt mit vielen Türen.",
        )),
        (_ZHANG, "zh", ("帐篷有两个门廊。", "两个帐篷，适合徒步。")),
    ),
    "the most of something": (
        (_TENT, "en", ("The lightest tent.", "A tent lighter than any other.", "No better tent for hiking.")),
        (_ZELT, "de", (
            "Das leichteste Zelt.", "Ein Zelt wie kein anderes.", "Der schönste Platz zum Wandern.",
        )),
        (_ZHANG, "zh", ("比所有帐篷都轻便。",)),
    ),
    "dry whatever comes": (
        (_TENT, "en", ("Keeps all rain out.", "Stay dry under any rain.", "No water gets in.")),
        (_ZELT, "de", ("Dicht bei jedem Wetter.", "Kein Regen kommt hier durch.")),
        (_ZHANG, "zh", ("再大的雨也挡住。",)),
    ),
    "good for body and mind": (
        (_SPREAD, "en", (
            "Makes you strong.", "Feel great with hazelnuts.", "Beats stress.", "Long life with hazelnuts.",
            "Good for the bones.", "Does you good.", "Keeps you young.", "Helps you rest.",
        )),
        (_SUPPE, "de", (
            "Suppe, die fit macht.", "Macht stark: Suppe aus Sellerie.", "Gut für die Haut.",
            "Fühl dich jung mit Suppe.", "Suppe gegen Müdigkeit.", "Tut dem Magen gut.",
        )),
        (_MIAN, "zh", ("芝麻面，让你更年轻。", "吃了长寿的面。", "芝麻面对身体好。")),
    ),
    "soon gone": (
        (_TENT, "en", (
            "Take it before they are all gone.", "The final few tents.", "Nearly gone: a light tent.",
            "Get one while they last.", "This tent sells out.", "Be quick.", "Now or never.",
        )),
        (_ZELT, "de", ("Schnell weg: leichtes Zelt.", "Nimm es, bevor alle weg sind.", "Letzte Chance.",
                       "Jetzt oder nie.")),
        (_ZHANG, "zh", ("帐篷快没了。", "先到先得的帐篷。")),
    ),
    "what others say": (
        (_TENT, "en", (
            "Everybody wants this tent.", "Most people choose this tent.",
            "Hikers keep coming back to this tent.", "Loved by people who walk.", "The tent that won.",
        )),
        (_ZELT, "de", (
            "Alle wollen dieses Zelt.", "Jeder kennt dieses Zelt.",
            "Ein Zelt, das alle haben wollen.",
        )),
        (_ZHANG, "zh", ("大家都说好的帐篷。",)),
    ),
    "a part or something beside it for the item": (
        (_LANTERN, "en", ("A handle with a lantern.", "Panes in cream metal.", "Rope handle for you.")),
        (_STEW, "en", (
            "Rice with beans and carrots.", "A can of carrots with beans.", "Bread with beans in a can.",
            "Tasty cheese with beans.",
        )),
        (_TENT, "en", ("A door of 2.1 kg.", "A porch made of nylon.")),
        (_KERZE, "de", ("Ein Deckel mit Kerze.", "Etikett im Glas mit Deckel.")),
        (_BEI, "zh", ("陶瓷托盘，适合泡绿茶。", "白色杯盖。")),
        (_BING, "zh", ("咖啡配燕麦和蜂蜜。", "蜂蜜牛奶。")),
    ),
    "made of something else": (
        (_LANTERN, "en", (
            "A lantern made of stone.", "A lantern of rope.", "Made of a glass.", "A lantern made of holz.",
        )),
        (_STEW, "en", (
            "A stew made with cheese.", "A stew of rice and beans.",
            "Stew made from beans, rice and carrots.",
        )),
        (_KERZE, "de", ("Eine Kerze aus Papier.", "Kerze mit Deckel aus Papier.", "Kerze aus Glas.")),
        (_BEI, "zh", ("由竹制成的茶杯。",)),
        (_BING, "zh", ("牛奶做成的饼干。",)),
    ),
    "a material or ingredient of something else": (
        (_LANTERN, "en", (
            "A glass lantern.", "A stone lantern with a handle.", "A rope lantern.",
            "A lantern with metal panes.",
        )),
        (_STEW, "en", ("Carrot stew with beans.", "A rice stew with carrots.")),
        (_CREAM, "en", ("A metal cream.", "A black tube with cream.")),
        (_KERZE, "de", ("Korkkerze im Glas.", "Papierkerze.")),
        (_BEI, "zh", ("木质茶杯，适合泡绿茶。", "竹茶杯。")),
        (_BING, "zh", ("咖啡饼干。",)),
    ),
    "facts in another language": (
        (_TENT, "de", ("weight: 2.1 kg", "material: nylon; waterproof", "colour: olive; hiking")),
        (_ZELT, "en", ("gewicht: 2.1 kg; farbe: oliv", "leichtes zelt, türen, vordach")),
    ),
}  # fmt: skip

_PASSING: Final[tuple[tuple[Facts, str, tuple[str, ...]], ...]] = (
    (_SPREAD, "en", (
        "A spread of hazelnuts and cocoa for bread.",
        "Hazelnut spread with cocoa, 350 g.",
        "Contains soy, milk and hazelnut.",
        "For pancakes: a spread of hazelnuts.",
    )),
    (_BLOCKS, "en", (
        "40 pieces of maple in a bag.",
        "Stacking blocks in six colours.",
        "Maple blocks for building.",
    )),
    (_TENT, "en", (
        "A light tent with two doors and a porch.",
        "An olive tent for hiking that sleeps three people.",
        "It keeps wind out and weighs 2.1 kg.",
        "This 2.1 kg tent is made of nylon.",
    )),
    (_LANTERN, "en", (
        "A cream metal lantern with a rope handle.", "A lantern made of metal, with glass panes.",
        "Four glass panes and a rope handle.", "Stand this lantern on a stone step.",
    )),
    (_STEW, "en", (
        "Bean stew with carrots.", "A stew made with beans, carrots and onion.",
        "Serve it with bread or cheese.",
    )),
    (_CREAM, "en", (
        "A cream with a black lid, in a metal tube.", "Made with almond oil and beeswax.",
        "Almond oil and beeswax for your hands.", "A rich gardening cream.", "Packed in a metal tube.",
    )),
    (_FILM, "en", ("A teacher in a wooden boat.", "A drama of an island.")),
    (_KERZE, "de", ("Kerze aus Sojawachs mit Deckel aus Kork.", "Eine Kerze im Glas.")),
    (_BEI, "zh", ("白色陶瓷茶杯，配木质杯盖。", "由陶瓷制成的茶杯。")),
    (_BING, "zh", ("燕麦和蜂蜜做成的饼干。", "燕麦饼干，适合配牛奶。")),
    (_SUPPE, "de", ("Suppe aus Sellerie und Sahne im Glas.", "Selleriesuppe mit Sahne und Senf, 400 ml.")),
    (_ZELT, "de", ("Leichtes Zelt mit zwei Türen und Vordach.", "Ein Zelt aus Nylon zum Wandern, 2,1 kg.")),
    (_MIAN, "zh", ("芝麻酱拌面，含花生。", "芝麻面，300克。")),
    (_ZHANG, "zh", ("轻便帐篷，两个门和门廊。", "尼龙帐篷，适合徒步。")),
)  # fmt: skip


def _all_stopped() -> Iterator[Any]:
    for name, groups in _STOPPED.items():
        for facts, language, texts in groups:
            for text in texts:
                yield pytest.param(facts, language, text, id=f"{name}: {text}")


@pytest.mark.parametrize(("facts", "language", "text"), list(_all_stopped()))
def test_a_false_text_does_not_pass(facts: Facts, language: str, text: str) -> None:
    assert not _GATE.check(facts, text, language).passed


@pytest.mark.parametrize(
    ("facts", "language", "text"),
    [(facts, language, text) for facts, language, texts in _PASSING for text in texts],
)
def test_a_true_text_passes(facts: Facts, language: str, text: str) -> None:
    verdict = _GATE.check(facts, text, language)
    assert verdict.passed, verdict.reasons


@pytest.mark.parametrize(
    "text", ["I'd like to write a new one.", "I need to be cut off.", "This is nice to have."]
)
def test_a_text_that_names_nothing_of_the_item_goes_to_review(text: str) -> None:
    spoon = {"item_id": "s", "title": "Wooden Spoon", "description": "A beech spoon made of wood."}
    verdict = _GATE.check(Facts.of(spoon), text, "en")
    assert {reason.code for reason in verdict.reasons} == {"no_fact"}
    assert _GATE.check(Facts.of(spoon), "Nice spoon.", "en").passed
