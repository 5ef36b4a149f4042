"""`/docs`: the reference as one plain page, made from the OpenAPI document; it loads nothing from anywhere else."""

from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

_STYLE_PATH = "/docs/reference.css"
_METHODS = ("get", "post", "put", "patch", "delete")

Document = dict[str, Any]


def docs_routes(app: FastAPI) -> list[Route]:
    async def page(_request: Request) -> Response:
        return HTMLResponse(render(app.openapi()))

    async def style(_request: Request) -> Response:
        return Response(_STYLE, media_type="text/css", headers={"cache-control": "max-age=3600"})

    return [Route("/docs", page, include_in_schema=False), Route(_STYLE_PATH, style, include_in_schema=False)]


def render(document: Document) -> str:
    """The whole page. Every text is escaped: the document repeats names that could hold anything."""
    title = f"{document['info']['title']} {document['info']['version']}"
    groups = _by_tag(document)
    links = "".join(f'<a href="#{_anchor(tag)}">{escape(tag)}</a>' for tag in groups)
    body = "".join(_group(tag, operations, document) for tag, operations in groups.items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{escape(title)}: API reference</title><link rel="stylesheet" href="{_STYLE_PATH}"></head><body>'
        f"<header><h1>{escape(title)}</h1>{_paragraphs(document['info']['description'])}"
        f'<p>The same for programs: <a href="openapi.json">openapi.json</a></p><nav>{links}</nav></header>'
        f"<main>{body}</main></body></html>"
    )


def _by_tag(document: Document) -> dict[str, list[tuple[str, str, Document]]]:
    groups: dict[str, list[tuple[str, str, Document]]] = {"Inference": []}
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                groups.setdefault(item[method]["tags"][0], []).append((method, path, item[method]))
    return groups


def _anchor(tag: str) -> str:
    return escape(tag.lower().replace(" ", "-"))


def _group(tag: str, operations: list[tuple[str, str, Document]], document: Document) -> str:
    return f'<section id="{_anchor(tag)}"><h2>{escape(tag)}</h2>{"".join(_operation(*each, document) for each in operations)}</section>'


def _operation(method: str, path: str, operation: Document, document: Document) -> str:
    summary = f'<b class="{method}">{method.upper()}</b> <code>{escape(path)}</code> <span>{escape(operation["summary"])}</span>'
    parts = [
        _paragraphs(operation.get("description", "")),
        _table("Parameters", _parameters(operation)),
        _table("Body", _fields(_body_schema(operation), document)),
        _table("Answer", _fields(_answer_schema(operation), document)),
        _table("Statuses", [(status, "", response["description"]) for status, response in operation["responses"].items()]),
    ]
    return f"<details><summary>{summary}</summary>{''.join(parts)}</details>"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_with_code(part)}</p>" for part in text.split("\n\n") if part.strip())


def _with_code(text: str) -> str:
    """Backticks become code; nothing else of Markdown is used."""
    pieces = text.split("`")
    return "".join(f"<code>{escape(piece)}</code>" if place % 2 else escape(piece) for place, piece in enumerate(pieces))


def _table(caption: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td><td>{_with_code(text)}</td></tr>" for name, kind, text in rows
    )
    return f"<table><caption>{caption}</caption>{lines}</table>"


def _parameters(operation: Document) -> list[tuple[str, str, str]]:
    return [(each["name"], _kind(each["schema"]), each.get("description", "")) for each in operation.get("parameters", [])]


def _body_schema(operation: Document) -> Document:
    content = operation.get("requestBody", {}).get("content", {})
    schema: Document = content.get("application/json", {}).get("schema", {})
    return schema


def _answer_schema(operation: Document) -> Document:
    for status in ("200", "201"):
        content = operation["responses"].get(status, {}).get("content", {})
        if "application/json" in content:
            schema: Document = content["application/json"]["schema"]
            return schema
    return {}


def _fields(schema: Document, document: Document) -> list[tuple[str, str, str]]:
    """One row a property of the object, required ones first as the schema lists them."""
    found = _resolve(schema, document)
    required = found.get("required", [])
    return [
        (name, _kind(each) + (", required" if name in required else ""), _resolve(each, document).get("description", ""))
        for name, each in found.get("properties", {}).items()
    ]


def _resolve(schema: Document, document: Document) -> Document:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Document = document["components"]["schemas"][name] if name else schema
    return {**found, **schema}


def _kind(schema: Document) -> str:
    """A schema in a few words."""
    return " or ".join(dict.fromkeys(_kinds(schema))) or "any"


def _kinds(schema: Document) -> Iterator[str]:
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2]
    elif "enum" in schema:
        yield ", ".join(str(value) for value in schema["enum"] if value is not None)
    elif "const" in schema:
        yield str(schema["const"])
    elif "anyOf" in schema:
        for each in schema["anyOf"]:
            yield from _kinds(each)
    elif schema.get("type") == "array":
        yield f"list of {_kind(schema.get('items', {}))}"
    elif "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        yield from (str(kind) for kind in kinds)


_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #0b7285; }
@media (prefers-color-scheme: dark) { :root { --accent: #66d9e8; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1 { margin: 0 0 .5rem; } h2 { margin: 2rem 0 .5rem; }
a { color: var(--accent); } nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
code { font: .9em ui-monospace, monospace; background: var(--soft); padding: .1em .3em; border-radius: .25em; overflow-wrap: anywhere; }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary b { display: inline-block; min-width: 4.5em; color: var(--accent); }
summary span { opacity: .8; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-size: .92em; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
td { border-top: 1px solid var(--line); padding: .25rem .5rem; vertical-align: top; }
""".strip()
