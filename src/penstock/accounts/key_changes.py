"""What may be changed of an API key that is in use."""

from dataclasses import dataclass, replace

from penstock.accounts import maker, rules
from penstock.domain.principal import KeyRecord


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """None: stays as it is. 0 for a limit or the expiry: none of the key's own."""

    name: str | None = None
    expires_in_seconds: float | None = None
    allowed_networks: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def applied(self, key: KeyRecord, own: KeyRecord | None, now: float) -> KeyRecord:
        """The changed key; `own` is the key that changes it. Raises PermissionDenied for something wider than that, BadRequest."""
        expires_at = key.expires_at
        if self.expires_in_seconds is not None:
            expires_at = rules.expiry(self.expires_in_seconds, now) if self.expires_in_seconds else None
        networks = key.allowed_networks if self.allowed_networks is None else rules.networks(self.allowed_networks)
        return replace(
            key,
            name=key.name if self.name is None else rules.name(self.name),
            expires_at=maker.expiry(own, expires_at),
            allowed_networks=maker.networks(own, networks),
            requests_per_minute=self._limit(own, key, "requests_per_minute"),
            tokens_per_minute=self._limit(own, key, "tokens_per_minute"),
        )

    def _limit(self, own: KeyRecord | None, key: KeyRecord, name: str) -> int | None:
        asked: int | None = getattr(self, name)
        wanted = getattr(key, name) if asked is None else rules.limit(asked, name) if asked else None
        return maker.limit(getattr(own, name) if own else None, wanted, name)
