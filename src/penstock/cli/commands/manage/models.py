"""`penstock models`: what can be asked for, under which names, at which price."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from penstock.cli.client.api import segment
from penstock.cli.command import Session, gateway_command, group
from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.money import currency_units

app = group("Models: list, show, price, alias, remove.")

ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="Id of the model.")]

_PRICE_UNIT = 1_000_000


@app.command("list", epilog="Example: penstock models list")
@gateway_command
def list_models(session: Session) -> None:
    """List the models.

    Those in the catalogue and those that workers serve.
    """
    answer = session.api.listed("/api/models")
    rows = [
        (
            model["id"],
            model.get("aliases"),
            model.get("context_length"),
            currency_units(_price(model).get("input_per_million")),
            currency_units(_price(model).get("output_per_million")),
            _price(model).get("currency"),
        )
        for model in answer["data"]
    ]
    session.out.table(answer, ("model", "aliases", "context#", "input/M#", "output/M#", "currency"), rows)


@app.command(epilog="Example: penstock models show sim-small")
@gateway_command
def show(session: Session, model: ModelId) -> None:
    """Show one model, by its id or an alias."""
    found = _find(session, model)
    session.out.item(found, _fields(found))


@app.command(epilog="Example: penstock models price sim-small --input 0.10 --output 0.30 --currency USD")
@gateway_command
def price(
    session: Session,
    model: ModelId,
    input_price: Annotated[
        str | None, typer.Option("--input", metavar="AMOUNT", help="Price of a million prompt tokens, for example 0.15.")
    ] = None,
    output_price: Annotated[str | None, typer.Option("--output", metavar="AMOUNT", help="Price of a million completion tokens.")] = None,
    cached_price: Annotated[str | None, typer.Option("--cached", metavar="AMOUNT", help="Price of a million cached prompt tokens.")] = None,
    currency: Annotated[str | None, typer.Option(metavar="CODE", help="Currency, for example USD.")] = None,
    priority_percent: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Price of the priority tier, in percent of these prices.")
    ] = None,
    flex_percent: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Price of the flex tier, in percent of these prices.")
    ] = None,
    batch_percent: Annotated[int | None, typer.Option(min=0, metavar="N", help="Price of batches, in percent of these prices.")] = None,
) -> None:
    """Set the price of a model. Options that you leave out do not change."""
    changes = {
        "input_per_million": _micros(input_price),
        "output_per_million": _micros(output_price),
        "cached_input_per_million": _micros(cached_price),
        "currency": currency.upper() if currency else None,
        "priority_percent": priority_percent,
        "flex_percent": flex_percent,
        "batch_percent": batch_percent,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    if not given:
        raise Failed("nothing to change: give --input, --output, --cached or another option", ExitCode.USAGE)
    _save(session, model, {"price": {**_price(_known(session, model)), **given}})


@app.command(epilog="Example: penstock models alias sim-large gpt-4o")
@gateway_command
def alias(
    session: Session,
    model: ModelId,
    names: Annotated[list[str], typer.Argument(metavar="ALIAS...", help="Further names of the model.")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove these names instead.")] = False,
) -> None:
    """Add names to a model, or remove them."""
    kept = [name for name in _known(session, model).get("aliases") or () if name not in names]
    _save(session, model, {"aliases": kept if remove else [*kept, *names]})


@app.command(epilog="Example: penstock models remove sim-small")
@gateway_command
def remove(session: Session, model: ModelId) -> None:
    """Remove a model's price and aliases from the catalogue. Workers that serve it stay."""
    session.api.delete(f"/api/models/{segment(model, slashes=True)}")
    session.out.done(f"removed {model} from the catalogue")


def _find(session: Session, name: str) -> dict[str, Any]:
    models = session.api.listed("/api/models")["data"]
    for model in models:
        if model["id"] == name or name in (model.get("aliases") or ()):
            return dict(model)
    raise Failed(f"there is no model {name!r}", ExitCode.NOT_FOUND, hint="`penstock models list` lists the models")


def _known(session: Session, model_id: str) -> dict[str, Any]:
    """What the gateway knows of that id; empty for a model that is not there yet."""
    models = session.api.listed("/api/models")["data"]
    return next((dict(model) for model in models if model["id"] == model_id), {})


def _save(session: Session, model_id: str, entry: Mapping[str, Any]) -> None:
    """What the entry does not name keeps its value."""
    saved = session.api.put(f"/api/models/{segment(model_id, slashes=True)}", entry)
    session.out.item(saved, _fields(saved))


def _fields(model: Mapping[str, Any]) -> list[tuple[str, Any]]:
    price = _price(model)
    amounts = [
        (label, currency_units(price.get(name)))
        for label, name in (
            ("input/M", "input_per_million"),
            ("cached input/M", "cached_input_per_million"),
            ("output/M", "output_per_million"),
        )
    ]
    return [
        ("model", model["id"]),
        ("aliases", model.get("aliases")),
        ("context", model.get("context_length")),
        ("owned by", model.get("owned_by")),
        *amounts,
        ("currency", price.get("currency")),
        ("priority %", price.get("priority_percent")),
        ("flex %", price.get("flex_percent")),
        ("batch %", price.get("batch_percent")),
    ]


def _price(model: Mapping[str, Any]) -> dict[str, Any]:
    return dict(model.get("price") or {})


def _micros(amount: str | None) -> int | None:
    """Micro-units of an amount in whole units. Raises Failed (usage)."""
    if amount is None:
        return None
    try:
        micros = Decimal(amount) * _PRICE_UNIT
        exact = int(micros)
    except (InvalidOperation, ValueError, OverflowError):
        raise Failed(f"{amount!r} is not an amount", ExitCode.USAGE) from None
    if micros != exact or exact < 0:
        raise Failed(f"{amount!r} is not an amount of at most six decimals", ExitCode.USAGE)
    return exact
