"""What a server follows while it runs: rules, models, items, experiments and blurbs that others change."""

import asyncio
import gc
from threading import Thread

from recsys.experiments.registry import ExperimentRegistry
from recsys.item_changes import CHANGES_FILE, ItemChanges
from recsys.registry import Registry
from recsys.text_reader import TextReader
from recsys.text_vector_cache import CACHE_FILE, TextVectorCache
from serving.blurb_desk import BlurbDesk
from serving.event_buffer import SqliteEventBuffer
from serving.experiment_watch import ExperimentWatch
from serving.live_catalogue import LiveCatalogue
from serving.loading import load_encoder, load_model, load_text_reader, require_signed, warm_up
from serving.model_follower import ModelFollower
from serving.model_trial import try_bundle
from serving.models import Model
from serving.rule_watch import RuleWatch
from serving.shadow import Shadow
from serving.site import Site
from serving.text_vectors import TextVectorSource
from serving.treatments import Treatments

_POLL_SECONDS = 0.02


def follow_rules(site: Site) -> None:
    """Apply the business rules of a file that may change."""
    site.run("rules", RuleWatch(site.workspace.rules, site.models.use_rules).run())


def follow_models(site: Site, counted: SqliteEventBuffer) -> tuple[ModelFollower, Shadow]:
    """Follow the registry, and let a shadow answer too; a model counts the log first, then the rest."""

    def load(version: str) -> Model:
        require_signed(site.workspace, site.settings, version)
        if site.settings.try_models:
            try_bundle(Registry(site.workspace.registry).path(version))
        return load_model(site.workspace, counted, site.clock.now_ms(), version)

    follower = ModelFollower(Registry(site.workspace.registry), site.models, load, site.compaction_lock)
    site.stack.push_async_callback(follower.close)
    site.run("model-follower", follower.run())
    shadow = Shadow(site.models, site.settings.shadow_share)
    site.stack.callback(shadow.close)
    return follower, shadow


async def follow_catalogue(site: Site) -> tuple[ItemChanges, LiveCatalogue]:
    """Follow the catalogue's changes.

    Raises:
        CatalogueError: They cannot be opened.
    """
    changes = ItemChanges(site.workspace.state / CHANGES_FILE)
    site.stack.callback(changes.close)
    cache = TextVectorCache(site.workspace.state / CACHE_FILE)
    site.stack.callback(cache.close)

    def text_reader(version: str) -> TextReader:
        return load_text_reader(site.workspace, version, site.models.all())

    catalogue = LiveCatalogue(
        changes,
        TextVectorSource(cache, text_reader),
        site.models,
        lambda changed: warm_up(changed, site.clock.now_ms()),
        stale_after=site.settings.catalogue_stale_after,
    )
    site.stack.callback(catalogue.close)
    await catalogue.look()
    site.run("catalogue-watch", catalogue.watch())
    site.run("catalogue-renewal", catalogue.renew())
    site.run("encoder-load", _load_encoders(site, catalogue))
    return changes, catalogue


async def follow_experiments(site: Site, treatments: Treatments, follower: ModelFollower) -> None:
    """Follow the experiments that run, and have the models that they name in memory."""
    watch = ExperimentWatch(ExperimentRegistry(site.workspace), treatments.use_book, follower)
    await asyncio.to_thread(watch.look)  # from the first answer on
    site.run("experiments", watch.run())


async def follow_blurbs(site: Site, url: str, catalogue: LiveCatalogue) -> BlurbDesk:
    """Follow the published blurbs; one process of all publishes them."""
    desk = BlurbDesk.open(site.workspace, site.settings, url, site.models.stable.config)
    site.stack.push_async_callback(desk.close)
    await desk.watch.look()
    site.run("blurb-watch", desk.watch.run())
    site.run("blurb-segments", desk.segments.run(site.models.all, catalogue.vectors))
    if site.is_first:
        site.run("blurb-publisher", desk.publish())
    return desk


async def _load_encoders(site: Site, catalogue: LiveCatalogue) -> None:
    """Load what was put off for the sake of a fast start, and what the first new text will need.

    The end of the process does not wait for it: a server that is told to stop while it loads stops.
    """
    loader = Thread(target=load_encoder, args=(site.models.stable,), name="query-encoder", daemon=True)
    loader.start()
    while loader.is_alive():
        await asyncio.sleep(_POLL_SECONDS)
    if site.settings.load_encoder:
        await catalogue.prepare()
    gc.freeze()  # as in ``worker``, but for the collection before it, which would stop the answers
