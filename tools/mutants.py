"""Mutants of a Python file: every place where one small fault can be planted, in a fixed order (`tools/mutate.py` runs tests on them).

What is not planted, because a test that noticed it would only repeat the source: annotations, docstrings, log lines, `__slots__`, and
prose (text with a space in it, such as the message of an error).
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import CodeType

Function = ast.FunctionDef | ast.AsyncFunctionDef

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_ENCODINGS = {"ascii", "latin-1", "utf-8"}
"""Python finds an encoding by its name whatever signs are added to it."""
_LOGGERS = {"log", "logger"}
_LONGEST = 160
"""Of a source text in the name of a mutant."""
_CONTEXT = 40
"""Of a long text: what is shown before the first difference."""


@dataclass(frozen=True)
class Mutant:
    """One fault. `apply` plants it in the tree that it was found in, `revert` takes it out."""

    where: str
    """The qualified name of the outermost function around it; empty: it is run when the module is imported."""
    first_line: int
    """Of that function, decorators included."""
    line: int
    change: str
    """`before -> after`, as source text."""
    parent: ast.AST
    field: str
    index: int | None
    before: ast.AST
    after: ast.AST

    def apply(self) -> None:
        self._put(self.after)

    def revert(self) -> None:
        self._put(self.before)

    def _put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node

    def compiled(self, tree: ast.Module, path: str) -> CodeType:
        """The module with this fault."""
        self.apply()
        try:
            return compile(ast.fix_missing_locations(tree), path, "exec")
        finally:
            self.revert()


def named(mutants: list[Mutant]) -> list[tuple[str, Mutant]]:
    """Each with a name that lasts while its function stays the same: `function: before -> after`, numbered where it comes again."""
    seen: Counter[str] = Counter()
    result = []
    for mutant in mutants:
        name = f"{mutant.where or '<module>'}: {mutant.change}"
        seen[name] += 1
        result.append((name if seen[name] == 1 else f"{name} #{seen[name]}", mutant))
    return result


def find(tree: ast.Module) -> list[Mutant]:
    return list(_Finder().mutants(tree))


class _Finder:
    def mutants(self, tree: ast.Module) -> Iterator[Mutant]:
        yield from self._children(tree, "", None)

    def _children(self, node: ast.AST, scope: str, outermost: tuple[str, int] | None) -> Iterator[Mutant]:
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            if isinstance(value, list):
                for index, child in enumerate(value):
                    if isinstance(child, ast.AST):
                        yield from self._slot(node, field, index, child, scope, outermost)
            elif isinstance(value, ast.AST):
                yield from self._slot(node, field, None, value, scope, outermost)

    def _slot(
        self, parent: ast.AST, field: str, index: int | None, node: ast.AST, scope: str, outermost: tuple[str, int] | None
    ) -> Iterator[Mutant]:
        if _is_left_alone(node):
            return
        where, first_line = outermost or ("", 0)
        for after in _faults(node):
            change = _change(node, after)
            yield Mutant(where, first_line, getattr(node, "lineno", 0), change, parent, field, index, node, after)
        if isinstance(node, Function):
            scope = f"{scope}.{node.name}" if scope else node.name
            # The defaults of its parameters are evaluated at import.
            yield from self._children(node.args, scope, outermost)
            inside = outermost or (scope, min([node.lineno, *(one.lineno for one in node.decorator_list)]))
            for at, statement in enumerate(node.body):
                yield from self._slot(node, "body", at, statement, scope, inside)
        elif isinstance(node, ast.ClassDef):
            yield from self._children(node, f"{scope}.{node.name}" if scope else node.name, outermost)
        else:
            yield from self._children(node, scope, outermost)


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.Global() | ast.Nonlocal():
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))) if name in _LOGGERS:
            return True
        case ast.Assign(targets=[ast.Name(id="__slots__")]) | ast.JoinedStr():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def _faults(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in _COMPARISONS:
            yield ast.Compare(left, [_COMPARISONS[type(operator)]()], [right])
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ARITHMETIC and not _is_text(left) and not _is_text(right):
            yield ast.BinOp(left, _ARITHMETIC[type(operator)](), right)
        case ast.BoolOp(op=operator, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
            for skipped in range(len(values)):
                rest = [value for at, value in enumerate(values) if at != skipped]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(operator, rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Constant():
            yield from _other_constants(node)
        case ast.Call():
            yield from _other_calls(node)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.If(test=ast.Name() | ast.Attribute() | ast.Call() | ast.NamedExpr() | ast.Await()):
            yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.stmt():
            yield from _other_statements(node)


def _other_constants(node: ast.Constant) -> Iterator[ast.AST]:
    match node.value:
        case bool(value):
            yield ast.Constant(not value)
        case int(value) | float(value):
            yield ast.Constant(value + 1)
        case str(value) if value and " " not in value and value not in _ENCODINGS:
            yield ast.Constant(f"{value}?")
        case bytes(value) if value and b" " not in value:
            yield ast.Constant(value + b"?")


def _other_calls(node: ast.Call) -> Iterator[ast.AST]:
    match node.func:
        case ast.Name(id=name) if name in _OPPOSITES:
            yield ast.Call(ast.Name(_OPPOSITES[name], ast.Load()), node.args, node.keywords)
    swappable = [] if isinstance(node.func, ast.Name) and node.func.id in _OPPOSITES else node.args
    for at, (one, other) in enumerate(pairwise(swappable)):
        if not isinstance(one, ast.Starred) and not isinstance(other, ast.Starred) and ast.dump(one) != ast.dump(other):
            yield ast.Call(node.func, [*node.args[:at], other, one, *node.args[at + 2 :]], node.keywords)
    for at, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield ast.Call(node.func, node.args, [*node.keywords[:at], *node.keywords[at + 1 :]])
    yield from _swapped_keywords(node)


def _swapped_keywords(node: ast.Call) -> Iterator[ast.AST]:
    """Two keywords that stand beside each other have each other's value."""
    for at, (one, other) in enumerate(pairwise(node.keywords)):
        if one.arg is not None and other.arg is not None and ast.dump(one.value) != ast.dump(other.value):
            swapped = [ast.keyword(one.arg, other.value), ast.keyword(other.arg, one.value)]
            yield ast.Call(node.func, node.args, [*node.keywords[:at], *swapped, *node.keywords[at + 2 :]])


def _other_statements(node: ast.stmt) -> Iterator[ast.AST]:
    """The statement is skipped; one that gives a name its value is not, because what follows would fail at once."""
    match node:
        case ast.Return(value=value) if value is not None and not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield ast.Pass()
        case ast.Assign(targets=targets) if any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets):
            yield ast.Pass()
        case ast.AnnAssign(target=ast.Attribute(), value=value) if value is not None:
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def _change(before: ast.AST, after: ast.AST) -> str:
    """`before -> after`. Of long texts what is the same at the beginning is left out, so that the difference can be seen."""
    texts = _shown(before), _shown(after)
    if max(map(len, texts)) > _LONGEST:
        same = next((at for at, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), min(map(len, texts)))
        cut = max(same - _CONTEXT, 0)
        texts = f"{'...' * bool(cut)}{texts[0][cut:]}", f"{'...' * bool(cut)}{texts[1][cut:]}"
    return " -> ".join(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..." for text in texts)


def _shown(node: ast.AST) -> str:
    match node:
        case ast.If(test=test):
            return f"if {ast.unparse(test)}"
        case ast.Pass():
            return "(nothing)"
    return " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
