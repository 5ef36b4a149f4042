"""The models and their prices as one snapshot, replaced as a whole when anything in it was edited."""

from collections.abc import Iterable, Iterator

from penstock.domain.models import ModelRecord, Price

FREE = Price()


class Catalogue:
    """Immutable. A name is an id, or an alias of one; an id wins over an alias, an older model's alias over a newer one's.

    A model that a worker serves without an entry here keeps its name and costs nothing.
    """

    __slots__ = ("_ids", "_records")

    def __init__(self, models: Iterable[ModelRecord] = ()) -> None:
        self._records = {model.id: model for model in sorted(models, key=lambda model: (model.created_at, model.id))}
        self._ids = {model_id: model_id for model_id in self._records}
        for model in self._records.values():
            for alias in model.aliases:
                self._ids.setdefault(alias, model.id)

    def __iter__(self) -> Iterator[ModelRecord]:
        """Oldest first."""
        return iter(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    def resolve(self, name: str) -> str:
        """The id that a client's name leads to; a name that is not known here leads to itself."""
        return self._ids.get(name, name)

    def owner(self, name: str) -> str | None:
        """The id that holds this name already, as its own or as an alias; None: the name is free."""
        return self._ids.get(name)

    def record(self, model_id: str) -> ModelRecord | None:
        return self._records.get(model_id)

    def price(self, model_id: str) -> Price:
        record = self._records.get(model_id)
        return FREE if record is None else record.price
