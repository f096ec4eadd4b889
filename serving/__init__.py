"""The server: recommendations out, events in.

* wire: ``servicer`` translates with ``requests`` and ``responses``; ``interceptors`` log, and map errors by
  the table in ``status``; ``client`` is the other end
* domain: ``engine`` answers, ``intake`` takes events in
* state: ``event_buffer`` is durable; ``state_updater`` carries it into the ``state_store``, ``compaction``
  into the event log
* process: ``settings``, ``embedded_store``, ``server``, and ``bootstrap`` where the concrete classes meet
"""
