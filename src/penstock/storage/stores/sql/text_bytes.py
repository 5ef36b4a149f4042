"""The bytes of a text in UTF-8, as each database counts them."""

from typing import Any

from sqlalchemy import ColumnElement, Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


class TextBytes(GenericFunction[int]):
    """`octet_length`, which SQLite has since 3.43 only."""

    type = Integer()
    name = "text_bytes"
    inherit_cache = True

    def __init__(self, text: ColumnElement[str]) -> None:
        super().__init__(text)


@compiles(TextBytes, "postgresql")
def _on_postgresql(element: TextBytes, compiler: SQLCompiler, **options: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **options)})"


@compiles(TextBytes, "sqlite")
def _on_sqlite(element: TextBytes, compiler: SQLCompiler, **options: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"
