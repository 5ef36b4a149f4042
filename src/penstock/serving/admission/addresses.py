"""A limit for each client address: for those who show no valid key, and for the control API.

Guessing keys or passwords costs us a lookup or a slow hash each; this bounds how many one address may cause. Memory is bounded
too: beyond the capacity the address that was seen longest ago is forgotten, which gives it a fresh minute.
"""

from collections import OrderedDict

from penstock.domain.clock import Clock
from penstock.domain.errors import RateLimited
from penstock.serving.admission.networks import subject

_LOOKUPS = 50
"""Keys that were never seen may be looked up so many times as often as wrong ones are answered with 401: a good one that comes from where
wrong ones come from must still be found."""
_REMEMBERED_SIGN_INS = 10_000


class AddressLimiter:
    """Budgets of an address, counted apart, so that a failing client cannot shut out an authenticated one behind the same NAT.

    Passwords have budgets of their own, by address and by account: guesses may come from many addresses. Only failures cost anything.
    """

    def __init__(
        self,
        clock: Clock,
        unauthenticated_per_minute: int = 120,
        api_per_minute: int = 1200,
        capacity: int = 100_000,
        sign_ins_per_minute: int = 20,
    ) -> None:
        """`sign_ins_per_minute`: failed ones, of one account from whichever addresses."""
        self._now = clock.monotonic
        self._lookups = _Arrivals(unauthenticated_per_minute * _LOOKUPS, capacity)
        self._passwords = _Arrivals(unauthenticated_per_minute, capacity)
        self._accounts = _Arrivals(sign_ins_per_minute, capacity)
        self._signed_in: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._unauthenticated = _Arrivals(unauthenticated_per_minute, capacity)
        self._api = _Arrivals(api_per_minute, capacity)

    def __len__(self) -> int:
        return len(self._unauthenticated) + len(self._api)

    def check(self, address: str, authenticated: bool) -> None:
        """Count one call. Raises RateLimited. An IPv6 address counts as its /64."""
        arrivals = self._api if authenticated else self._unauthenticated
        wait = arrivals.take(subject(address), self._now())
        if wait:
            what = "calls" if authenticated else "calls without a valid API key"
            raise RateLimited(f"Too many {what} from this address.", retry_after_seconds=wait)

    def begin_lookup(self, address: str) -> None:
        """The store is about to be asked for a key. Raises RateLimited."""
        if wait := self._lookups.take(subject(address), self._now()):
            raise RateLimited("Too many calls with unknown API keys from this address.", retry_after_seconds=wait)

    def end_lookup(self, address: str) -> None:
        """The key was good."""
        self._lookups.give_back(subject(address))

    def begin_sign_in(self, address: str, account: str) -> None:
        """A password is about to be looked at, which is slow. Raises RateLimited.

        An address from which the account has signed in before does not wait because of guesses from elsewhere.
        """
        who, name, now = subject(address), account.casefold(), self._now()
        if wait := self._passwords.take(who, now):
            raise RateLimited("Too many failed sign-ins from this address.", retry_after_seconds=wait)
        if (who, name) not in self._signed_in and (wait := self._accounts.take(name, now)):
            self._passwords.give_back(who)
            raise RateLimited("Too many failed sign-ins of this account.", retry_after_seconds=wait)

    def end_sign_in(self, address: str, account: str) -> None:
        """The password was right."""
        who, name = subject(address), account.casefold()
        self._passwords.give_back(who)
        if (who, name) not in self._signed_in:
            self._accounts.give_back(name)
        self._signed_in[who, name] = None
        self._signed_in.move_to_end((who, name))
        if len(self._signed_in) > _REMEMBERED_SIGN_INS:
            self._signed_in.popitem(last=False)


class _Arrivals:
    """GCRA: for every address the time at which it will have used up what it took; at most a minute ahead."""

    def __init__(self, per_minute: int, capacity: int) -> None:
        self._interval = 60.0 / max(1, per_minute)
        self._capacity = capacity
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def take(self, who: str, now: float) -> float:
        """0.0, or the seconds to wait."""
        until = max(self._until.get(who, now), now) + self._interval
        ahead = until - now - 60.0
        if ahead > 1e-6:
            self._until.move_to_end(who)
            return ahead
        self._until[who] = until
        self._until.move_to_end(who)
        if len(self._until) > self._capacity:
            self._until.popitem(last=False)
        return 0.0

    def give_back(self, who: str) -> None:
        """The latest call costs nothing after all."""
        if who in self._until:
            self._until[who] -= self._interval
