"""Organisations, plans, keys and a user in memory, as the rules of `accounts/standing.py` ask for them."""

from dataclasses import replace

from penstock.accounts.bootstrap import PLANS
from penstock.domain import keys
from penstock.domain.principal import KeyRecord, Organisation, Plan, Scope, User

SECRET_KEY = b"s" * 32
ORG, KEY, USER = "org_a", "key_a", "usr_a"
EMAIL, PASSWORD = "ada@example.org", "a long pass phrase"


class MemoryAccounts:
    """One enabled organisation of the first plan, with a key for inferences and an administrator; `change_*` edits them."""

    def __init__(self) -> None:
        self.secret = keys.new_secret(keys.API_KEY)
        digest = keys.digest(SECRET_KEY, self.secret)
        self.record = KeyRecord(KEY, ORG, "a key", digest, keys.hint(self.secret), frozenset({Scope.INFERENCE}), 0.0, tokens_per_minute=7)
        self.user = User(USER, ORG, EMAIL, "", admin=True, created_at=0.0)
        self.organisations = {ORG: Organisation(ORG, "A", PLANS[0].name, 0.0)}
        self.known_plans = list(PLANS)
        self.knows_key = self.knows_user = True

    def change_key(self, **changes: object) -> None:
        self.record = replace(self.record, **changes)  # type: ignore[arg-type] # the tests name the fields

    def change_user(self, **changes: object) -> None:
        self.user = replace(self.user, **changes)  # type: ignore[arg-type] # the tests name the fields

    def change_organisation(self, **changes: object) -> None:
        self.organisations[ORG] = replace(self.organisations[ORG], **changes)  # type: ignore[arg-type] # the tests name the fields

    async def key(self, key_id: str) -> KeyRecord | None:
        return self.record if self.knows_key and key_id == self.record.id else None

    async def key_by_digest(self, digest: bytes) -> KeyRecord | None:
        return self.record if self.knows_key and digest == self.record.digest else None

    async def organisation(self, org_id: str) -> Organisation | None:
        return self.organisations.get(org_id)

    async def plans(self) -> list[Plan]:
        return self.known_plans

    async def verify_password(self, email: str, password: str) -> User | None:
        return self.user if self.knows_user and (email, password) == (EMAIL, PASSWORD) else None
