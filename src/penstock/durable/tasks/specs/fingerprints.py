"""What tells a repeated submission from another one under the same idempotency key: all that its caller asked for, in one form.

Local names do not count, and neither does the order of fields or tags. A parent of the same submission counts as what it asks for itself.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from penstock.durable.tasks.specs import references
from penstock.durable.tasks.specs.task_spec import TaskSpec

_encode = msgspec.json.Encoder(order="deterministic").encode
_VERSION = b"\x02"
"""Before the digest: those of earlier versions had none, and left out half of the fields."""


class Fingerprints:
    """Of one submission, asked for in an order in which parents come before children."""

    def __init__(self, specs: Sequence[TaskSpec], index_by_ref: Mapping[str, int]) -> None:
        self._specs = specs
        self._index_by_ref = index_by_ref
        self._keyed = any(spec.idempotency_key is not None for spec in specs)
        self._with_parents = any(spec.parents for spec in specs)
        self._found: dict[int, bytes] = {}

    def of(self, index: int) -> bytes:
        """Empty without a key, when it is not compared. Raises UnknownResult, TooDeep."""
        spec = self._specs[index]
        if not self._keyed or (spec.idempotency_key is None and not self._with_parents):
            return b""
        found = self._found[index] = _VERSION + hashlib.sha256(_encode(self._asked(spec))).digest()
        return b"" if spec.idempotency_key is None else found

    def _asked(self, spec: TaskSpec) -> dict[str, Any]:
        names = {parent.task: self._name(parent.task) for parent in spec.parents}
        fields = {name: getattr(spec, name) for name in spec.__struct_fields__ if name not in ("ref", "idempotency_key", "payload")}
        asked = {name: value for name, value in fields.items() if value not in (None, ())}
        asked["tags"] = sorted(set(spec.tags))
        asked["parents"] = [(names[parent.task], parent.on_failure or spec.on_parent_failure) for parent in spec.parents]
        payload = bytes(spec.payload).decode()
        if spec.parents and references.mentions(payload):
            payload = references.bind(payload, names)
        asked["payload"] = references.decoded(payload)
        return asked

    def _name(self, parent: str) -> str:
        index = self._index_by_ref.get(parent)
        return parent if index is None else self._found[index].hex()
