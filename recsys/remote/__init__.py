"""A workspace's copy in an object store, through which machines without a common file system share it.

Every machine works on files of its own, as ever; ``push`` brings what is new there to the store, ``pull``
what is new in the store to the machine. Roles:

- ``objects``: named bytes in a store; the one thing asked beyond reading and writing is that a name can be
  taken once. ``opening`` finds one by its URL: ``directory_objects``, ``fsspec_objects`` or ``cloud``, whose
  errors ``refusals`` words.
- ``head``: what the store holds, one numbered document. The highest number counts, so a push is seen whole or
  not at all, and of two pushes at once one finds its number taken and begins again on what the other did.
- ``units``: what changes as one: an append with its files, a model, a table, the pointers.
- ``own_units``: the units of a workspace, and ``record``: how they were when last in step with the store.
- ``decide``: from these two and the head, what is new where, and what was changed on both sides.
- ``push``, ``pull``, and for the latter ``log_choice``, ``place`` and ``people``; the ``turns`` they take;
  and ``torn``: what to say of what was changed on both sides.

Objects are never overwritten: their names hold their digest and the push that wrote them. An object that a
head no longer names is removed by whoever published that head, or by the next push.
"""
