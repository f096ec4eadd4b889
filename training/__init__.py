"""Training: from a workspace's log to a bundle in its registry, and what that bundle is worth.

* runs: ``recipe`` is the whole of it, stage by stage; ``take_over`` keeps stages of the stable bundle
* encoder: ``encoder_fit`` fine-tunes it; ``next_items`` and ``impressions`` make its examples, ``text_table``
  reads the texts, ``encoder_trainer`` and ``encoder_group`` run ``encoder_module`` on Lightning
* past decisions: ``decision_table``, ``visits``, ``unknown_items`` and ``shown_decisions`` find them; what
  was on offer comes from ``offers``, what was taken from ``labels``; all of them end as ``decisions``
* ranker: ``ranker_fit`` grows forests (``boosting``, ``forest``) on ``decisions``, ``ranker_shares`` in
  several processes
* worth: ``evaluation`` against ``baselines``, as a ``report``; ``ablations``, ``hold_out``, ``strategies``
* settings: ``tune`` searches for better ones

It imports ``features`` and ``recsys``, and never meets ``serving``.
"""
