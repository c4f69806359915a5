from ._audit import audit as audit
from ._record import Audit as Audit
from ._record import Finding as Finding

__all__ = ["Audit", "audit"]
