"""Which scope every expression of a Python file is evaluated in, and what each scope binds, and where.

Follows the language reference, "Resolution of names" (docs.python.org/3/reference/executionmodel.html).
Purely syntactic. The tree is walked with a stack of our own, so that deep nesting cannot exhaust Python's.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Position = tuple[int, int]  # line from 1, column from 0 in UTF-8 bytes, as in `ast`
Kind = Literal["module", "class", "function", "comprehension"]
Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True)
class Binding:
    """One place that gives a name a value, or takes it away. From `since` on, in the text, it is done."""

    since: Position
    line: int
    how: str  # assigned, parameter, function, class, imported, caught, del, global, walrus
    node: ast.AST


@dataclass(eq=False)
class Scope:
    """A module, a class body, a function (or lambda), or a comprehension."""

    kind: Kind
    node: ast.AST
    parent: Scope | None
    name: str = ""
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    attributes: dict[str, list[Binding]] = field(default_factory=dict)  # of a class: `self.x = ...`

    def bind(self, name: str, binding: Binding) -> None:
        self.bindings.setdefault(name, []).append(binding)

    @property
    def function(self) -> Scope:
        """The function, class or module that a walrus of this scope binds in."""
        scope = self
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        return scope

    @property
    def qualified_name(self) -> str:
        """As in a traceback: `CustomSAE.encode`; empty for the module."""
        names = []
        scope: Scope | None = self
        while scope is not None and scope.parent is not None:
            if scope.kind != "comprehension":
                names.append(scope.name)
            scope = scope.parent
        return ".".join(reversed(names))


@dataclass(eq=False)
class Program:
    """One parsed file: in which scope each node is evaluated, and in which field of which node it stands."""

    text: str
    tree: ast.Module
    module: Scope
    scopes: dict[ast.AST, Scope] = field(default_factory=dict)
    parents: dict[ast.AST, tuple[ast.AST, str]] = field(default_factory=dict)
    inner: dict[ast.AST, Scope] = field(default_factory=dict)  # the scope that a node opens
    names: dict[Position, ast.Name] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lines = re.split(r"\r\n|\r|\n", self.text)

    def line(self, number: int) -> str:
        return self.lines[number - 1].strip() if 0 < number <= len(self.lines) else ""

    def name_at(self, line: int, column: int, name: str) -> ast.Name | None:
        """The name that stands at a line and column (both from 1, in characters)."""
        if not 0 < line <= len(self.lines):
            return None
        before = self.lines[line - 1][: column - 1].encode("utf-8", "replace")
        node = self.names.get((line, len(before)))
        return node if node is not None and node.id == name else None

    def chain(self, node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
        """The nodes around one, the nearest first, each with the field of it in which the node stands."""
        while node in self.parents:
            node, part = self.parents[node]
            yield node, part


def read_program(text: str) -> Program | None:
    """Parse a file and find its scopes; None where it is not a program of our own version of Python."""
    text = text.removeprefix("\ufeff")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the author's SyntaxWarnings are not ours to raise
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    program = Program(text, tree, Scope("module", tree, None))
    _Walk(program).all()
    return program


class _Walk:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._stack: list[tuple[ast.AST, Scope]] = []

    def all(self) -> None:
        self._children(self._program.tree, self._program.module)
        while self._stack:
            node, scope = self._stack.pop()
            self._program.scopes[node] = scope
            self._bind(node, scope)
            self._children(node, scope)
        for scope in (self._program.module, *self._program.inner.values()):
            for bindings in (*scope.bindings.values(), *scope.attributes.values()):
                # The stack took the last ones first.
                bindings.sort(key=lambda binding: binding.line)

    def _children(self, node: ast.AST, outside: Scope) -> None:
        inside = self._opened(node, outside)
        for part, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self._program.parents[child] = (node, part)
                    here = inside if _is_inside(node, part) else outside
                    if isinstance(node, ast.comprehension) and part == "iter":
                        here = self._scope_of_iterable(node, outside)
                    self._stack.append((child, here))

    def _scope_of_iterable(self, clause: ast.comprehension, inside: Scope) -> Scope:
        """The first iterable of a comprehension is evaluated outside of it."""
        owner = inside.node
        first = isinstance(owner, Comprehension) and owner.generators[0] is clause
        return inside.parent if first and inside.parent else inside

    def _opened(self, node: ast.AST, outside: Scope) -> Scope:
        kind: Kind
        if isinstance(node, Function | ast.Lambda):
            kind = "function"
        elif isinstance(node, ast.ClassDef):
            kind = "class"
        elif isinstance(node, Comprehension):
            kind = "comprehension"
        else:
            return outside
        scope = Scope(kind, node, outside, getattr(node, "name", "<lambda>"))
        self._program.inner[node] = scope
        if isinstance(node, Function | ast.Lambda):
            for parameter in _parameters(node.args):
                scope.bind(parameter.arg, Binding(start(node), node.lineno, "parameter", node))
        return scope

    # ------------------------------------------------------------ bindings

    def _bind(self, node: ast.AST, scope: Scope) -> None:
        if isinstance(node, ast.Name):
            self._program.names[start(node)] = node
            if not isinstance(node.ctx, ast.Load):
                self._bind_name(node, scope)
        elif isinstance(node, Function):
            scope.bind(node.name, Binding(start(node), node.lineno, "function", node))
        elif isinstance(node, ast.ClassDef):  # bound when its body has been executed
            scope.bind(node.name, Binding(end(node), node.lineno, "class", node))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                scope.bind(name, Binding(end(node), node.lineno, "imported", node))
        elif isinstance(node, ast.ExceptHandler) and node.name:
            scope.bind(node.name, Binding(start(node), node.lineno, "caught", node))
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            scope.bind(node.name, Binding(end(node), node.lineno, "assigned", node))
        elif isinstance(node, ast.MatchMapping) and node.rest:
            scope.bind(node.rest, Binding(end(node), node.lineno, "assigned", node))
        elif isinstance(node, ast.Global | ast.Nonlocal):
            # What a scope declares is bound elsewhere, at a time that the text does not tell.
            is_global = isinstance(node, ast.Global)
            owners = [self._program.module] if is_global else _functions_around(scope)
            for name in node.names:
                for owner in owners:
                    owner.bind(name, Binding(start(node), node.lineno, "global", node))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            self._bind_attribute(node, scope)

    def _bind_name(self, node: ast.Name, scope: Scope) -> None:
        if isinstance(node.ctx, ast.Del):
            scope.bind(node.id, Binding(start(node), node.lineno, "del", node))
            return
        holder, part = self._program.parents[node]
        if isinstance(holder, ast.NamedExpr) and part == "target":
            scope.function.bind(node.id, Binding(start(node), node.lineno, "walrus", node))
            return
        scope.bind(node.id, Binding(self._since(node), node.lineno, "assigned", node))

    def _since(self, target: ast.Name) -> Position:
        """Where the statement or clause that assigns to a name has done so."""
        for node, _part in self._program.chain(target):
            if isinstance(node, ast.For | ast.AsyncFor):
                return end(node.iter)
            if isinstance(node, ast.withitem):
                return end(node.optional_vars or node.context_expr)
            if isinstance(node, ast.comprehension):
                return start(target)
            if isinstance(node, ast.stmt):
                return end(node)
        return start(target)

    def _bind_attribute(self, node: ast.Attribute, scope: Scope) -> None:
        """`self.x = ...`, where `self` is the first parameter of the method around it."""
        if not isinstance(node.value, ast.Name):
            return
        method = method_around(scope)
        if method is not None and method.parent and first_parameter(method) == node.value.id:
            binding = Binding(start(node), node.lineno, method.name, node)
            method.parent.attributes.setdefault(node.attr, []).append(binding)


def start(node: ast.AST) -> Position:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def end(node: ast.AST) -> Position:
    return getattr(node, "end_lineno", 0), getattr(node, "end_col_offset", 0)


def method_around(scope: Scope | None) -> Scope | None:
    """The method whose body this scope is in, however deep."""
    while scope is not None and scope.kind != "class":
        if scope.kind == "function" and scope.parent and scope.parent.kind == "class":
            return scope
        scope = scope.parent
    return None


def first_parameter(method: Scope) -> str:
    """What a method calls its object: usually `self`."""
    node = method.node
    if not isinstance(node, Function):
        return ""
    if any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list):
        return ""
    given = [*node.args.posonlyargs, *node.args.args]
    return given[0].arg if given else ""


def _functions_around(scope: Scope) -> list[Scope]:
    """The functions that a `nonlocal` may mean, its own among them."""
    found = []
    inner: Scope | None = scope
    while inner is not None:
        if inner.kind == "function":
            found.append(inner)
        inner = inner.parent
    return found


def _parameters(arguments: ast.arguments) -> list[ast.arg]:
    rest = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest]


def _is_inside(node: ast.AST, part: str) -> bool:
    """Whether a child is evaluated in the scope that the node opens, and not around it."""
    if isinstance(node, Function | ast.Lambda | ast.ClassDef):
        return part == "body"
    return isinstance(node, Comprehension)
