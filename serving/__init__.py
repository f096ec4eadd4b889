"""The server: recommendations out, events in.

* wire: ``servicer``, ``catalog_servicer`` and ``admin`` translate with ``requests`` and ``responses``;
  ``interceptors`` admit calls (``access``, ``tokens``), record them (``recorder``), and map errors by the
  table in ``status``; ``client`` is the other end, and ``repeats`` what it asks again
* domain: ``engine`` answers a ``question`` with a ``ranking_pipeline``, ``intake`` takes events in,
  ``item_intake`` items
* lists: ``lists`` gives answers their tokens, ``list_log`` remembers them for ``attribution``, ``page_store``
  what follows it for the next page
* state: ``event_buffer`` is durable, by ``buffer_file`` and ``group_commit``; ``state_updater`` carries it
  into the ``state_store``, whose parts are ``store_clients``, ``state_keys``, ``state_records``,
  ``state_changes`` and ``fenced_writes``; ``log_sync`` with ``compaction`` carries it into the event log
* beyond one machine: ``kafka_intake`` is durable, ``kafka_consumer`` carries it on, ``kafka_tail`` to models
* changes while it runs: ``model_follower`` swaps ``models``, ``live_catalogue`` items, ``rule_watch`` rules
* process: ``settings``, ``embedded_store``, ``server``, and ``bootstrap`` where the concrete classes meet, of
  which ``stores``, ``event_flow`` and ``followers`` put some together on a ``site``; ``worker`` is one
  process, ``supervisor`` starts several, and ``progress_board`` tells them of each other
"""
