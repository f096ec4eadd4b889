"""What any model has to beat, apart from the engine: nothing here is trained into a bundle or served.

The two cheap ones (``frequency``) are in every report. The strong ones are each a dataclass of settings that
can be fitted on a log (``baseline``), and are tuned on the window before the test window (``tuning``);
``compare`` runs any of them by name.
"""

from training.baselines.frequency import (
    FrequencySettings,
    personal_frequency,
    popular,
    popular_lists,
    tune_personal_frequency,
)
from training.baselines.suite import ALL, CHEAP, Compared, compare, parse_names

__all__ = [
    "ALL",
    "CHEAP",
    "Compared",
    "FrequencySettings",
    "compare",
    "parse_names",
    "personal_frequency",
    "popular",
    "popular_lists",
    "tune_personal_frequency",
]
