"""Small questions about nodes of a Python syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence, Set

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_CATCHES = frozenset({"AttributeError", "Exception", "BaseException"})
_CONTEXTS = (ast.expr_context, ast.operator, ast.boolop, ast.unaryop, ast.cmpop)
_SHOWN_LINES = 8
_CODE_LIMIT = 160


def children(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes directly below a node, in source order, without operators and contexts."""
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            for item in value:
                if isinstance(item, ast.AST):
                    yield item
        elif isinstance(value, ast.AST) and not isinstance(value, _CONTEXTS):
            yield value


def parameters(arguments: ast.arguments) -> list[ast.arg]:
    """All parameters of a function, `*args` and `**kwargs` with them."""
    extra = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def last_name(node: ast.AST) -> str:
    """`c` of `a.b.c`, of `c` and of a call of either; "" for anything else."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def literal(node: ast.expr | None) -> str | None:
    """The text of a string constant."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def beginning(node: ast.expr | None) -> str:
    """How a text that is made at run time certainly begins: `f"x_{i}"`, `"x_" + i`, `"x_%d" % i`; or ""."""
    if isinstance(node, ast.JoinedStr):
        return literal(node.values[0] if node.values else None) or ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return literal(node.left) or beginning(node.left)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return (literal(node.left) or "").partition("%")[0]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        is_format = node.func.attr == "format"
        return (literal(node.func.value) or "").partition("{")[0] if is_format else ""
    return ""


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """Each name that an import binds, and what it stands for in dotted form; `*` for a star import."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            join = "" if module.endswith(".") or not module else "."
            yield alias.asname or alias.name, f"{module}{join}{alias.name}"
        elif alias.asname:
            yield alias.asname, alias.name
        else:
            top = alias.name.split(".")[0]
            yield top, top


def assigned(body: Sequence[ast.AST], wanted: Set[str]) -> set[str]:
    """Which of the wanted names the statements assign, functions and classes within them left out."""
    found: set[str] = set()
    waiting = list(body) if wanted else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name):
            if node.id in wanted and not isinstance(node.ctx, ast.Load):
                found.add(node.id)
        elif not isinstance(node, FunctionNode | ast.Lambda | ast.ClassDef):
            waiting.extend(children(node))
    return found


def catches_attribute_error(node: ast.Try | ast.TryStar | ast.With | ast.AsyncWith) -> bool:
    """Say whether an AttributeError in the body would be caught: by a handler, or `suppress(...)`."""
    if isinstance(node, ast.With | ast.AsyncWith):
        return any(names_in(item.context_expr) & _CATCHES for item in node.items)
    return any(h.type is None or bool(names_in(h.type) & _CATCHES) for h in node.handlers)


def listed(lines: Sequence[int]) -> str:
    """`line 3` or `lines 3, 8`, the first few of many."""
    shown = ", ".join(map(str, lines[:_SHOWN_LINES]))
    more = f" and {len(lines) - _SHOWN_LINES} more" if len(lines) > _SHOWN_LINES else ""
    return f"line{'s' * (len(lines) > 1)} {shown}{more}"


def shortened(code: str) -> str:
    """A line of code, cut to what a message can hold."""
    return code if len(code) <= _CODE_LIMIT else code[: _CODE_LIMIT - 3] + "..."


def names_in(node: ast.AST) -> set[str]:
    """The names and attributes that stand in an expression."""
    return {last_name(n) for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute)}
