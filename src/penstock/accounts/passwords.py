"""Passwords: slow on purpose, and few at a time, so that guessing costs the guesser and not us."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MAX_PASSWORD_CHARS = 1024
_AT_ONCE = 2  # hashes; each takes 19 MiB and some 20 ms of a core
# Of a random password that was not kept: what is compared when there is no such user, so that the answer takes as long.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$JOae2w+HFbpKwo9yCqirEQ$9/4sUsk5WmqYLChAz7o2d/X1PLd7RX2XLfyJhMzrlKA"


class Passwords:
    """Argon2id with OWASP's first recommendation (19 MiB, 2 passes, 1 lane), outside the event loop's thread."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def hash(self, password: str) -> str:
        """In PHC form, with its parameters and salt."""
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the hash's. None: no such user; the same work, and never true."""
        async with self._turn:
            matched = await asyncio.to_thread(self._verify, password_hash or _NOBODY, password)
        return matched and password_hash is not None

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
