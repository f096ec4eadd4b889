"""``recsys doctor``: what this installation, machine and workspace have, what is missing, and how to mend it.

A check returns a finding or raises one of the errors in ``finding.CAUGHT``, which is a finding too. Libraries
are imported inside the checks, so that one that is absent or broken becomes a row instead of a traceback.
Nothing on the machine is changed.
"""

from recsys.doctor.finding import Finding, Status
from recsys.doctor.installation import unmet
from recsys.doctor.verb import diagnose, doctor

__all__ = ["Finding", "Status", "diagnose", "doctor", "unmet"]
