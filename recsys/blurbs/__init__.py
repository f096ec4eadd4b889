"""Blurbs: short, true, safe lines of text about items, made beforehand and checked before they are shown.

Where to look, along the way of a text:

- what an item offers: ``facts``, cleaned by ``sanitising`` and ``steering``;
- what is asked for: ``row`` (a slot, and what is published in it), ``segments``, ``shortage``, ``wanted``;
- who writes: ``backends``, asked with ``prompt``;
- who decides: ``judging`` asks the ``gate``, which runs ``checks`` over ``ground``, ``lexicon``, ``wording``,
  ``phrases`` and ``quantities`` and says a ``verdict``; ``shop_gate`` is the gate of one shop;
- what words are said of: ``roles``, by the ``grammar`` of a language, its ``stretches`` and ``substances``;
- what is kept: ``book``, of ``entry`` rows in a ``book_file``; ``lifetime`` says for how long;
- who moves it along: ``generator`` for one text, ``run`` for a shop, ``revalidation`` when items change;
- how it is taken back: ``revocation`` (by ``term`` too), ``switches``, and ``complaints`` of shoppers;
- people and figures: ``review`` and ``quality``; ``*_command`` are the verbs.

How published texts are read and shown is in ``serving``.
"""
