"""Why a list is as it is: what is known of a user or an item, and what the pipeline makes of it.

Everything is asked of the log and of the pipeline that answers requests; nothing is computed a second time
here. A diagnosis of an item counts users and names none of them.
"""

from serving.diagnosis.item import diagnose_item
from serving.diagnosis.item_report import ItemDiagnosis
from serving.diagnosis.user import UserDiagnosis, diagnose_user

__all__ = ["ItemDiagnosis", "UserDiagnosis", "diagnose_item", "diagnose_user"]
