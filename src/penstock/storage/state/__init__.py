"""Shared and forgettable state: the counters behind the rate limits. A family; `memory` counts for one process alone.

A member is made with a clock, `MEMBER(clock)`, and is a `Quotas` of `domain/ports/`. What a member keeps can be lost at any
moment: the worst that follows is that a limit begins anew.
"""

from penstock.base.family import Family
from penstock.domain.ports import QuotasFactory

STATE: Family[QuotasFactory] = Family(__name__)
