"""An index of one file for following values: each node's parent, and each name's bindings and reads."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field

from agent_runner.validation.syntax import FunctionNode, names_in, parameters

ScopeNode = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef


@dataclass(eq=False)
class NameScope:
    """A module, function or class body. `values` are the nodes that bind each of its names."""

    node: ScopeNode
    parent: NameScope | None
    values: dict[str, list[ast.AST]] = field(default_factory=dict)

    def owner(self, name: str) -> NameScope | None:
        """The scope that the name belongs to when it is read here; None for built-in names."""
        scope: NameScope | None = self
        while scope is not None:
            if name in scope.values and (scope is self or not isinstance(scope.node, ast.ClassDef)):
                return scope
            scope = scope.parent
        return None


class FileIndex:
    """Built in one walk over the tree, which keeps its own stack: deep nesting cannot exhaust Python's."""

    def __init__(self, tree: ast.Module) -> None:
        self.parents: dict[ast.AST, ast.AST] = {}
        self.scopes: dict[ast.AST, NameScope] = {}  # of names, calls and returns
        self.module = NameScope(tree, None)
        self.functions: dict[FunctionNode, NameScope] = {}  # each with the scope within it
        self.calls: list[ast.Call] = []
        self.returns: dict[ScopeNode, list[ast.Return]] = defaultdict(list)
        self.loaded: set[str] = set()  # attributes read, on anything
        self.stored: set[str] = set()  # attributes set, on anything but a `self`
        self.strings: set[str] = set()
        self.catches = False  # the file has a handler for AttributeError
        self._reads: dict[str, list[ast.Name]] = defaultdict(list)
        self._by_owner: dict[str, dict[NameScope | None, list[ast.Name]]] = {}
        self._rebound: set[str] = set()
        stack: list[tuple[ast.AST, NameScope]] = [(tree, self.module)]
        while stack:
            node, scope = stack.pop()
            inner = self._note(node, scope)
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
                stack.append((child, scope if _is_outside(node, child) else inner))

    def _note(self, node: ast.AST, scope: NameScope) -> NameScope:
        """Record what the node says. Returns the scope of what stands in it."""
        if isinstance(node, ast.Name):
            self.scopes[node] = scope
            if isinstance(node.ctx, ast.Load):
                self._reads[node.id].append(node)
            else:
                scope.values.setdefault(node.id, []).append(node)
        elif isinstance(node, ast.Attribute):
            if isinstance(node.ctx, ast.Load):
                self.loaded.add(node.attr)
            elif not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                self.stored.add(node.attr)
        elif isinstance(node, ast.Call):
            self.scopes[node] = scope
            self.calls.append(node)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self.strings.add(node.value)
        elif isinstance(node, ast.Return):
            self.scopes[node] = scope
            self.returns[scope.node].append(node)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            self._rebound.update(node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                scope.values.setdefault(name, []).append(node)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            if node.name:
                scope.values.setdefault(node.name, []).append(node)
            if isinstance(node, ast.ExceptHandler) and node.type is not None:
                self.catches |= "AttributeError" in names_in(node.type)
        elif isinstance(node, FunctionNode | ast.Lambda | ast.ClassDef):
            return self._open(node, scope)
        return scope

    def _open(self, node: FunctionNode | ast.Lambda | ast.ClassDef, scope: NameScope) -> NameScope:
        inner = NameScope(node, scope)
        if not isinstance(node, ast.Lambda):
            scope.values.setdefault(node.name, []).append(node)
        if isinstance(node, FunctionNode):
            self.functions[node] = inner
        if not isinstance(node, ast.ClassDef):
            for argument in parameters(node.args):
                inner.values.setdefault(argument.arg, []).append(argument)
        return inner

    # ---- questions

    def sole(self, name: ast.Name) -> NameScope | None:
        """The scope of a name that is bound in one place only, and not in a class body; else None."""
        owner = self.scopes[name].owner(name.id)
        if owner is None or name.id in self._rebound or isinstance(owner.node, ast.ClassDef):
            return None
        return owner if len(owner.values[name.id]) == 1 else None

    def uses_of(self, name: str, owner: NameScope) -> list[ast.Name]:
        """Every place where that scope's name is read."""
        if name not in self._by_owner:
            grouped: dict[NameScope | None, list[ast.Name]] = defaultdict(list)
            for use in self._reads[name]:
                grouped[self.scopes[use].owner(name)].append(use)
            self._by_owner[name] = grouped
        return self._by_owner[name].get(owner, [])

    def function_called(self, call: ast.Call) -> FunctionNode | None:
        """The function of this file that a call by name runs; None where that is not certain."""
        if not isinstance(call.func, ast.Name):
            return None
        owner = self.sole(call.func)
        found = owner.values[call.func.id][0] if owner is not None else None
        return found if isinstance(found, FunctionNode) else None

    def callers(self, function: FunctionNode) -> list[ast.Call] | None:
        """Every call of a function; None where it may be called otherwise than by its name."""
        scope = self.functions[function].parent
        if scope is None or isinstance(scope.node, ast.ClassDef) or function.decorator_list:
            return None
        if len(scope.values[function.name]) != 1 or function.name in self._rebound:
            return None
        found = []
        for use in self.uses_of(function.name, scope):
            call = self.parents[use]
            if not (isinstance(call, ast.Call) and call.func is use):
                return None
            found.append(call)
        return found

    def is_imported(self, node: ast.expr, module: str, name: str) -> bool:
        """Say whether an expression is `module.name`, or the name as it was imported from the module."""
        if isinstance(node, ast.Attribute):
            if node.attr != name or not isinstance(node.value, ast.Name):
                return False
            return all(
                isinstance(b, ast.Import) and any(a.name == module for a in b.names)
                for b in self._bindings(node.value)
            )
        return isinstance(node, ast.Name) and all(
            isinstance(b, ast.ImportFrom)
            and b.module == module
            and any(a.name == name and (a.asname or a.name) == node.id for a in b.names)
            for b in self._bindings(node)
        )

    def _bindings(self, node: ast.Name) -> list[ast.AST]:
        owner = self.scopes[node].owner(node.id)
        return owner.values[node.id] if owner is not None else [node]


def _is_outside(node: ast.AST, child: ast.AST) -> bool:
    """Decorators, bases and annotations stand in a definition, and belong to the scope around it."""
    if isinstance(node, FunctionNode):
        return child in node.decorator_list or child is node.returns
    return isinstance(node, ast.ClassDef) and (
        child in node.decorator_list or child in node.bases or child in node.keywords
    )
