"""What a server remembers of people: their states, the lists they got, and who does not want to be known."""

from dataclasses import dataclass

from recsys.tombstones import Tombstones
from recsys.workspace import Workspace
from serving.discretion import Discretion
from serving.embedded_store import embedded_store
from serving.erased_pages import ErasedPages
from serving.erasure import Eraser, OnlineEraser, forget_when_erased
from serving.list_export import ListExport
from serving.list_log import LIST_FILE, ListLog
from serving.lists import Lists
from serving.origins import Origins
from serving.page_store import PageStore
from serving.settings import Settings
from serving.signer import Signer, signing_keys
from serving.site import Site
from serving.state_reader import StateReader
from serving.state_store import StateStore
from serving.store_clients import connect, connect_blocking


@dataclass(frozen=True, eq=False)
class Stores:
    """What is kept, with the address of the online store."""

    url: str
    states: StateStore
    reader: StateReader
    """Reads the states on the threads that rank."""
    lists: Lists
    discretion: Discretion


def open_stores(site: Site) -> Stores:
    """Connect to the online store, an embedded one unless another is configured, and open the lists' log.

    Raises:
        StoreError: The embedded store does not start.
        IntakeError: The lists' log cannot be opened.
        ConfigError: The tokens' keys are wrong.
    """
    settings, secret = site.settings, site.settings.redis_url
    url = site.stack.enter_context(embedded_store()) if secret is None else secret.get_secret_value()
    rules, discretion = site.models.stable.config.state, Discretion(site.workspace.root)
    states = StateStore(connect(url, settings.store_timeout_ms), settings.tenant, rules, discretion)
    site.stack.push_async_callback(states.close)
    client = connect_blocking(url, settings.state_timeout_ms)
    site.stack.callback(client.close)
    return Stores(url, states, StateReader(client, states), _lists(site, url), discretion)


def carry_out_erasures(site: Site, stores: Stores, origins: Origins) -> OnlineEraser:
    """Carry out erasures that were ordered, and let go of who was who whenever there is one."""
    eraser = Eraser(site.workspace, site.buffer, stores.lists.list_log)
    tombstones = Tombstones(site.workspace.root)
    online = OnlineEraser(eraser, stores.states, stores.lists.pages, site.buffer)
    if site.is_first:
        site.run("erasures", online.run())
        log, pages = stores.lists.list_log, stores.lists.pages
        erased = ErasedPages(tombstones, log, pages, site.clock.now_ms, site.settings.page_ttl)
        site.run("erased-pages", erased.run())
    site.run("erasure-watch", forget_when_erased(tombstones, origins.forget))
    return online


def _lists(site: Site, url: str) -> Lists:
    """Where lists that were served are kept, in the log and for their later pages."""
    settings = site.settings
    log = ListLog(site.workspace.state / LIST_FILE)
    site.stack.callback(log.close)
    if site.is_first:
        export = ListExport(log, site.workspace.served_lists, site.clock.now_ms, settings.list_retention)
        site.stack.push_async_callback(export.finish)
        site.run("list-export", export.run(settings.compact_every))
    reader = connect(url, settings.store_timeout_ms)
    writer = connect_blocking(url, settings.store_timeout_ms)
    site.stack.push_async_callback(reader.aclose)
    site.stack.callback(writer.close)
    pages = PageStore(reader, writer, settings.tenant, settings.page_ttl)
    site.stack.callback(pages.close)
    return Lists(log, pages, _signer(settings, site.workspace), page_depth=settings.page_depth)


def _signer(settings: Settings, workspace: Workspace) -> Signer:
    keys = settings.token_keys
    configured = None if keys is None else keys.get_secret_value()
    return Signer(signing_keys(configured, workspace.state), settings.tenant)
