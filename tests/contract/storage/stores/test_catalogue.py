from dataclasses import replace

from penstock.domain.models import ModelRecord, Price
from penstock.domain.ports import Store
from tests.contract.storage.stores.store_records import BIG

MODEL = ModelRecord(
    id="org/modèle:70b",
    price=Price(150_000, 75_000, BIG, "EUR", 200, 25),
    aliases=("gpt-4o", "エイリアス"),
    context_length=131_072,
    created_at=1.5,
    owned_by="somebody",
)


async def test_a_model_is_saved_replaced_and_removed(store: Store) -> None:
    plain = ModelRecord("a", Price())
    await store.catalog.save_model(MODEL)
    await store.catalog.save_model(plain)
    assert await store.catalog.models() == [plain, MODEL]
    changed = replace(MODEL, price=Price(), aliases=(), context_length=None)
    await store.catalog.save_model(changed)
    assert await store.catalog.models() == [plain, changed]
    assert await store.catalog.remove_model(MODEL.id)
    assert not await store.catalog.remove_model(MODEL.id)
    assert await store.catalog.models() == [plain]
