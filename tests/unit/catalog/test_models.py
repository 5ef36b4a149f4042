"""The catalogue: names, aliases and prices."""

from penstock.catalog.models import FREE, Catalogue
from penstock.domain.models import ModelRecord, Price

PRICE = Price(input_per_million=150_000, output_per_million=600_000)


def model(model_id: str, *aliases: str, created_at: float = 0.0) -> ModelRecord:
    return ModelRecord(model_id, PRICE, aliases, created_at=created_at)


def test_alias_and_id_resolve_to_the_id() -> None:
    catalogue = Catalogue([model("org/large", "gpt-4", "best"), model("small")])
    assert [catalogue.resolve(name) for name in ("org/large", "gpt-4", "best", "small")] == ["org/large"] * 3 + ["small"]


def test_a_model_without_an_entry_keeps_its_name_and_is_free() -> None:
    catalogue = Catalogue([])
    assert (catalogue.resolve("sim-small"), catalogue.owner("sim-small"), catalogue.record("sim-small")) == ("sim-small", None, None)
    assert catalogue.price("sim-small") is FREE


def test_prices_are_those_of_the_id() -> None:
    catalogue = Catalogue([model("a", "b")])
    assert (catalogue.price("a"), catalogue.price("b")) == (PRICE, FREE)
    assert catalogue.price(catalogue.resolve("b")) == PRICE


def test_an_id_wins_over_an_alias_and_an_older_alias_over_a_newer() -> None:
    new, old = model("new", "old", "both", created_at=2.0), model("old", "both", created_at=1.0)
    for order in ([new, old], [old, new]):
        catalogue = Catalogue(order)
        assert (catalogue.resolve("old"), catalogue.owner("both")) == ("old", "old")
        assert [record.id for record in catalogue] == ["old", "new"]
        assert len(catalogue) == 2
