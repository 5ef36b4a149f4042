"""The rules of organisations, keys, join tokens and users: who may make what, and what is never shown to whom.

Something of another organisation does not exist for a caller: NotFound, not PermissionDenied, unless the caller is an
administrator. Secrets are returned once, by the call that makes them; the store knows their digests.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from penstock.accounts import maker, rules
from penstock.accounts.key_changes import KeyChanges
from penstock.accounts.passwords import MAX_PASSWORD_CHARS, Passwords
from penstock.accounts.permissions import not_found, owned, owns, require
from penstock.accounts.standing import has_expired
from penstock.domain import keys
from penstock.domain.clock import Clock
from penstock.domain.errors import BadRequest, PermissionDenied, Unauthenticated
from penstock.domain.ids import new_id
from penstock.domain.ports import AccountStore
from penstock.domain.principal import JoinToken, KeyActor, KeyRecord, Organisation, Principal, Scope, User

ROLES = ("worker", "runner")
_MIN_PASSWORD_CHARS = 12


class AccountService:
    """Every method may raise PortUnavailable; `caller` is on whose behalf it runs."""

    def __init__(
        self,
        store: AccountStore,
        secret_key: bytes,
        clock: Clock,
        *,
        new_id: Callable[[str], str] = new_id,
        new_secret: Callable[[str], str] = keys.new_secret,
    ) -> None:
        self._store = store
        self._secret_key = secret_key
        self._clock = clock
        self._new_id = new_id
        self._new_secret = new_secret
        self._passwords = Passwords()

    # --- organisations ---

    async def create_organisation(self, caller: Principal, name: str, plan: str) -> Organisation:
        """Raises PermissionDenied, BadRequest."""
        require(caller, Scope.ADMIN)
        organisation = Organisation(self._new_id("org"), rules.name(name), await self._known_plan(plan), self._clock.time())
        await self._store.create_organisation(organisation)
        return organisation

    async def update_organisation(
        self,
        caller: Principal,
        org_id: str,
        *,
        name: str | None = None,
        plan: str | None = None,
        disabled: bool | None = None,
        own_models_first: bool | None = None,
    ) -> Organisation:
        """Change what is given. Raises PermissionDenied, NotFound, BadRequest."""
        require(caller, Scope.ADMIN)
        found = await self._store.organisation(org_id)
        if found is None:
            raise not_found("organisation")
        changed = replace(
            found,
            name=found.name if name is None else rules.name(name),
            plan=found.plan if plan is None else await self._known_plan(plan),
            disabled=found.disabled if disabled is None else disabled,
            own_models_first=found.own_models_first if own_models_first is None else own_models_first,
        )
        if changed != found and not await self._store.update_organisation(changed):
            raise not_found("organisation")
        return changed

    # --- keys ---

    async def create_key(
        self,
        caller: Principal,
        *,
        name: str,
        scopes: Iterable[Scope] = (Scope.INFERENCE,),
        expires_in_seconds: float | None = None,
        allowed_networks: Iterable[str] = (),
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        concurrency: int | None = None,
        org_id: str | None = None,
    ) -> tuple[KeyRecord, str]:
        """The record and the key itself. `org_id` None: the caller's own. What is left out is as for the key that makes it.

        Raises PermissionDenied, also for a key that would be wider than the one that makes it, NotFound, BadRequest.
        """
        require(caller, Scope.KEYS_WRITE)
        granted = _grantable(caller, scopes)
        own = await self._key_of(caller)
        owner = await self._organisation_of(caller, org_id)
        secret = self._new_secret(keys.API_KEY)
        now = self._clock.time()
        record = KeyRecord(
            id=self._new_id("key"),
            org_id=owner,
            name=rules.name(name),
            digest=keys.digest(self._secret_key, secret),
            hint=keys.hint(secret),
            scopes=granted,
            created_at=now,
            expires_at=maker.expiry(own, rules.expiry(expires_in_seconds, now)),
            allowed_networks=maker.networks(own, rules.networks(allowed_networks)),
            requests_per_minute=maker.limit(
                own.requests_per_minute if own else None, rules.limit(requests_per_minute, "requests_per_minute"), "requests_per_minute"
            ),
            tokens_per_minute=maker.limit(
                own.tokens_per_minute if own else None, rules.limit(tokens_per_minute, "tokens_per_minute"), "tokens_per_minute"
            ),
            concurrency=maker.limit(own.concurrency if own else None, rules.limit(concurrency, "concurrency"), "concurrency"),
        )
        await self._store.create_key(record)
        return record, secret

    async def update_key(self, caller: Principal, key_id: str, changes: KeyChanges) -> KeyRecord:
        """Change what is given; never to something wider than the caller's own key. Raises PermissionDenied, NotFound, BadRequest."""
        require(caller, Scope.KEYS_WRITE)
        found = owned(caller, await self._store.key(key_id), "key")
        _grantable(caller, found.scopes)
        changed = changes.applied(found, await self._key_of(caller), self._clock.time())
        if changed != found:
            await self._store.update_key(changed)
        return changed

    async def rotate_key(self, caller: Principal, key_id: str, overlap_seconds: float) -> tuple[KeyRecord, str]:
        """A new key with the same rights; the old one ends after the overlap. Raises PermissionDenied, NotFound, BadRequest."""
        require(caller, Scope.KEYS_WRITE)
        found = owned(caller, await self._store.key(key_id), "key")
        now = self._clock.time()
        if found.revoked_at is not None or has_expired(found.expires_at, now):
            raise BadRequest("This key is not valid any more: make a new one.", param="key_id")
        _grantable(caller, found.scopes)
        same = KeyChanges().applied(found, await self._key_of(caller), now)
        secret = self._new_secret(keys.API_KEY)
        digest, new_id = keys.digest(self._secret_key, secret), self._new_id("key")
        made = replace(same, id=new_id, digest=digest, hint=keys.hint(secret), created_at=now)
        await self._store.create_key(made)
        end = now + max(0.0, overlap_seconds)
        await self._store.update_key(replace(found, expires_at=end if found.expires_at is None else min(end, found.expires_at)))
        return made, secret

    async def revoke_key(self, caller: Principal, key_id: str) -> None:
        """At once and for good; again is not an error. Raises PermissionDenied, NotFound."""
        require(caller, Scope.KEYS_WRITE)
        owned(caller, await self._store.key(key_id), "key")
        await self._store.revoke_key(key_id, self._clock.time())

    # --- join tokens ---

    async def create_join_token(
        self, caller: Principal, *, role: str = "worker", expires_in_seconds: float | None = None, org_id: str | None = None
    ) -> tuple[JoinToken, str]:
        """The record and the token itself. `org_id` None: the platform's for an administrator, else the caller's organisation's.

        Raises PermissionDenied, NotFound, BadRequest.
        """
        require(caller, Scope.WORKERS_WRITE)
        if role not in ROLES:
            raise BadRequest(f"A join token's role is one of: {', '.join(ROLES)}.", param="role")
        own = await self._key_of(caller)
        platform = org_id is None and caller.may(Scope.ADMIN)
        owner = None if platform else await self._organisation_of(caller, org_id)
        secret = self._new_secret(keys.JOIN_TOKEN)
        now = self._clock.time()
        record = JoinToken(
            id=self._new_id("jtk"),
            role=role,
            digest=keys.digest(self._secret_key, secret),
            hint=keys.hint(secret),
            org_id=owner,
            created_at=now,
            expires_at=maker.expiry(own, rules.expiry(expires_in_seconds, now)),
        )
        await self._store.create_join_token(record)
        return record, secret

    async def join_token(self, text: str) -> JoinToken:
        """The valid token that the text is. Raises Unauthenticated, the same for an unknown, a revoked and an expired one."""
        found = None
        if keys.well_formed(text, keys.JOIN_TOKEN):
            found = await self._store.join_token_by_digest(keys.digest(self._secret_key, text))
        if found is None or found.revoked_at is not None or has_expired(found.expires_at, self._clock.time()):
            raise Unauthenticated("This join token is not valid.", param="token")
        return found

    async def revoke_join_token(self, caller: Principal, token_id: str) -> None:
        """Raises PermissionDenied, NotFound."""
        require(caller, Scope.WORKERS_WRITE)
        found = next((token for token in await self._store.join_tokens() if token.id == token_id), None)
        owned(caller, found, "join token")
        await self._store.revoke_join_token(token_id, self._clock.time())

    # --- users ---

    async def create_user(self, caller: Principal, *, email: str, password: str, org_id: str | None = None, admin: bool = False) -> User:
        """Raises PermissionDenied, NotFound, BadRequest, Conflict when the address is taken."""
        require(caller, Scope.ADMIN)
        if not _MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
            raise BadRequest(f"A password has {_MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters.", param="password")
        owner = await self._organisation_of(caller, org_id)
        address = rules.email(email)
        user = User(self._new_id("usr"), owner, address, await self._passwords.hash(password), admin, self._clock.time())
        await self._store.create_user(user)
        return user

    async def verify_password(self, email: str, password: str) -> User | None:
        """The user whose password it is. Takes as long when there is none of that address."""
        if len(password) > MAX_PASSWORD_CHARS:
            return None
        user = await self._store.user_by_email(email)
        matched = await self._passwords.matches(user.password_hash if user else None, password)
        return user if matched else None

    async def _known_plan(self, plan: str) -> str:
        known = sorted(each.name for each in await self._store.plans())
        if plan not in known:
            raise BadRequest(f"There is no such plan; there are: {', '.join(known)}.", param="plan")
        return plan

    async def _key_of(self, caller: Principal) -> KeyRecord | None:
        """The key that calls; None for a user and for the platform."""
        return await self._store.key(caller.actor.id) if isinstance(caller.actor, KeyActor) else None

    async def _organisation_of(self, caller: Principal, org_id: str | None) -> str:
        """The organisation that something is made for. Raises NotFound for a foreign one."""
        if org_id is None or org_id == caller.org_id:
            return caller.org_id
        if not owns(caller, org_id) or await self._store.organisation(org_id) is None:
            raise not_found("organisation")
        return org_id


def _grantable(caller: Principal, scopes: Iterable[Scope]) -> frozenset[Scope]:
    try:
        wanted = frozenset(Scope(scope) for scope in scopes)
    except ValueError:
        raise BadRequest(f"A scope is one of: {', '.join(Scope)}.", param="scopes") from None
    if not wanted:
        raise BadRequest("A key needs at least one scope.", param="scopes")
    if beyond := sorted(scope for scope in wanted if not caller.may(scope)):
        raise PermissionDenied(f"You cannot grant scopes that you do not have: {', '.join(beyond)}.", param="scopes")
    return wanted
