"""Which users may use the control API, and what an Authorization header may look like."""

import base64
from dataclasses import dataclass, field, replace

import pytest

from penstock.domain.clock import ManualClock
from penstock.domain.errors import Internal, PenstockError, PermissionDenied, RateLimited, Unauthenticated
from penstock.domain.principal import KeyActor, Organisation, Plan, Principal, Scope, ServiceClass, ServiceTier, User, UserActor
from penstock.edge.layers.sign_in import SignIn
from penstock.serving.admission.addresses import AddressLimiter

PLAN = Plan("enterprise", ServiceClass.ENTERPRISE, ServiceTier.DEFAULT, tuple(ServiceTier), 60, 1000, 10)
ADMIN = User("usr_1", "org_1", "ada@example.com", "hash", True, 0.0)
KEY_OWNER = Principal("org_1", KeyActor("key_1"), PLAN, frozenset())


@dataclass
class Directory:
    """One user, one organisation, one key; it stands for the key ring, the passwords and the organisations."""

    user: User | None = ADMIN
    organisations: list[Organisation] = field(default_factory=lambda: [Organisation("org_1", "one", "enterprise", 0.0)])
    headers: list[tuple[bytes | None, str]] = field(default_factory=list)
    passwords: list[tuple[str, str]] = field(default_factory=list)

    async def identify(self, authorization: bytes | None, address: str) -> Principal:
        self.headers.append((authorization, address))
        return KEY_OWNER

    async def verify_password(self, email: str, password: str) -> User | None:
        self.passwords.append((email, password))
        return self.user

    async def organisation(self, org_id: str) -> Organisation | None:
        return next((each for each in self.organisations if each.id == org_id), None)

    async def plans(self) -> list[Plan]:
        return [PLAN]


def basic(text: str | bytes, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(text.encode() if isinstance(text, str) else text).decode()}"


async def sign_in(directory: Directory, authorization: str | None) -> Principal:
    return await SignIn(directory, directory, directory)(authorization, "127.0.0.1")


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
async def test_administrator_signs_in_with_every_scope(scheme: str) -> None:
    directory = Directory()
    assert await sign_in(directory, basic("ada@example.com:pass:word", scheme)) == Principal(
        "org_1", UserActor("usr_1"), PLAN, frozenset(Scope)
    )
    assert directory.passwords == [("ada@example.com", "pass:word")]


async def test_user_who_is_not_an_administrator_is_refused() -> None:
    with pytest.raises(PermissionDenied, match="may not use the control API"):
        await sign_in(Directory(user=replace(ADMIN, admin=False)), basic("ada@example.com:x"))


@pytest.mark.parametrize(
    ("directory", "error"),
    [
        (Directory(user=None), Unauthenticated),
        (Directory(organisations=[]), PermissionDenied),
        (Directory(organisations=[Organisation("org_1", "one", "enterprise", 0.0, disabled=True)]), PermissionDenied),
        (Directory(organisations=[Organisation("org_1", "one", "no such plan", 0.0)]), Internal),
    ],
)
async def test_user_whose_password_or_organisation_is_not_good_is_refused(directory: Directory, error: type[PenstockError]) -> None:
    with pytest.raises(error):
        await sign_in(directory, basic("ada@example.com:x"))


@pytest.mark.parametrize(
    "authorization",
    ["Basic", "Basic ", "Basic !!!", basic("no colon"), basic(b"\xff:x"), basic("a\0:b"), basic("a" * 1025 + ":b")],
)
async def test_malformed_basic_header_is_refused_without_a_look_at_the_password(authorization: str) -> None:
    directory = Directory()
    with pytest.raises(Unauthenticated, match="not valid Basic"):
        await sign_in(directory, authorization)
    assert directory.passwords == []


@pytest.mark.parametrize("authorization", [None, "", "Bearer psk-x", "Digest x", "Basicx"])
async def test_every_other_header_is_for_the_key_ring(authorization: str | None) -> None:
    directory = Directory()
    assert await sign_in(directory, authorization) is KEY_OWNER
    assert directory.headers == [(authorization.encode() if authorization else None, "127.0.0.1")]


async def test_credentials_of_1024_characters_are_read_and_longer_ones_refused() -> None:
    directory = Directory()
    assert isinstance(await sign_in(directory, basic("a:" + "p" * 1022)), Principal)
    with pytest.raises(Unauthenticated):
        await sign_in(directory, basic("a:" + "p" * 1023))
    assert [len(password) for _, password in directory.passwords] == [1022]


async def test_credentials_with_a_character_outside_base64_are_refused() -> None:
    directory = Directory()
    with pytest.raises(Unauthenticated):
        await sign_in(directory, basic("a:password").replace("Basic ", "Basic !"))
    assert directory.passwords == []


async def test_passwords_are_limited_before_they_are_looked_at_and_right_ones_cost_nothing() -> None:
    directory, limiter = Directory(), AddressLimiter(ManualClock(), sign_ins_per_minute=2)
    limited = SignIn(directory, directory, directory, limiter)
    for _ in range(5):
        await limited(basic("ada@example.com:right"), "192.0.2.1")
    directory.user = None
    for address, error in (("192.0.2.2", Unauthenticated), ("192.0.2.3", Unauthenticated), ("192.0.2.4", RateLimited)):
        with pytest.raises(error):
            await limited(basic("ada@example.com:wrong"), address)
    assert len(directory.passwords) == 7
    directory.user = ADMIN
    await limited(basic("ada@example.com:right"), "192.0.2.1")
