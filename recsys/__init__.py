"""The engine of a recommender that joins text and behaviour.

Bottom layer of four packages; it imports none of the others.

* vocabulary: ``schema`` (columns), ``errors``, ``config``, ``workspace``, ``clock``
* data: ``ingest`` and ``datasets`` write the ``catalogue`` and the ``event_log``, whose docstring names the
  modules of its upkeep
* changes: ``item_changes`` since the ingest, ``live_parts`` what they make of a loaded model,
  ``change_pruning`` when they go
* state: ``user_state`` and ``item_state``, what is remembered of the log
* models: ``encoder`` (text and user towers), ``index`` (nearest items), ``co_occurrence``, ``ranker``
* answering: ``candidates``, ``search`` for queries, and ``pipeline`` turn a ``Query`` into a ``RankedList``
  (``answer``); after the score comes ``arrangement``, with the shop's ``rules`` (``rule_book``)
* artefacts: ``bundle`` and ``registry``, the only thing that passes from training to serving; ``promotion``
  says which of them serves

Above it: ``features`` (one definition, evaluated offline and online), then ``training`` and ``serving``,
which never meet.
"""
