"""An index of one file for following values: each node's parent, and each name's bindings and reads."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field

from agent_runner.validation.syntax import FunctionNode, last_name, names_in, parameters

_MAKING = frozenset({"__new__", "__init__"})
_PLAIN_BASES = frozenset({"object", "ABC", "Module", "Dataset", "IterableDataset"})

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
        self.scopes: dict[ast.AST, NameScope] = {}  # of names, calls, returns, definitions
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
        self._attributes: dict[str, list[ast.Attribute]] = defaultdict(list)
        self._class_names: set[str] = set()  # bound in the body of any class
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
                if isinstance(scope.node, ast.ClassDef):
                    self._class_names.add(node.id)
        elif isinstance(node, ast.Attribute):
            self._attributes[node.attr].append(node)
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
            self.scopes[node] = scope
            scope.values.setdefault(node.name, []).append(node)
            if isinstance(scope.node, ast.ClassDef):
                self._class_names.add(node.name)
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
        # `args = None` at the top says only that there is such a name.
        values = [value for value in owner.values[name.id] if not self._is_none(value)]
        return owner if len(values) == 1 else None

    def _is_none(self, target: ast.AST) -> bool:
        parent = self.parents.get(target)
        value = parent.value if isinstance(parent, ast.Assign | ast.AnnAssign) else None
        return isinstance(value, ast.Constant) and value.value is None

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
        if isinstance(found, ast.ClassDef):
            return _constructor(found)
        return found if isinstance(found, FunctionNode) else None

    def class_of(self, function: FunctionNode) -> ast.ClassDef | None:
        """The class in whose body a function stands."""
        scope = self.functions[function].parent
        return scope.node if scope is not None and isinstance(scope.node, ast.ClassDef) else None

    def callers(self, function: FunctionNode) -> list[ast.Call] | None:
        """Every call of a function; None where it may be called otherwise than by its name."""
        scope = self.functions[function].parent
        name = function.name
        owner = self.class_of(function)
        if owner is not None:
            if _constructor(owner) is not function or _creates_itself(owner):
                return None
            scope, name = self.scopes[owner], owner.name
        if scope is None or isinstance(scope.node, ast.ClassDef) or function.decorator_list:
            return None
        if len(scope.values[name]) != 1 or name in self._rebound:
            return None
        found = []
        for use in self.uses_of(name, scope):
            call = self.parents[use]
            if use in (getattr(call, "annotation", None), getattr(call, "returns", None)):
                continue
            if not (isinstance(call, ast.Call) and call.func is use):
                return None
            found.append(call)
        return found

    def uses_on_self(
        self, target: ast.Attribute
    ) -> tuple[list[ast.Attribute], list[ast.Attribute]] | None:
        """Where `self.x`, set in one place of the file, is read on `self` in that class, and where otherwise.

        None where that cannot be said: `x` is set elsewhere too, or the class has bases that may set it.
        """
        owner = self._class_of_self(target)
        named = self._attributes[target.attr]
        if owner is None or not _has_plain_bases(owner) or target.attr in self.strings:
            return None
        if self._class_names & {target.attr, "__setattr__", "__getattribute__"}:
            return None  # a property may put something else there
        if any(not isinstance(a.ctx, ast.Load) and a is not target for a in named):
            return None
        reads = [a for a in named if a is not target]
        own = [a for a in reads if self._class_of_self(a) is owner]
        return own, [a for a in reads if self._class_of_self(a) is not owner]

    def _class_of_self(self, node: ast.Attribute) -> ast.ClassDef | None:
        """The class of whose method the value of an attribute is the first parameter."""
        if not isinstance(node.value, ast.Name):
            return None
        owner = self.scopes[node.value].owner(node.value.id)
        if owner is None or not isinstance(owner.node, FunctionNode):
            return None
        arguments = [*owner.node.args.posonlyargs, *owner.node.args.args]
        is_first = bool(arguments) and owner.values[node.value.id] == arguments[:1]
        return self.class_of(owner.node) if is_first else None

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


def _constructor(owner: ast.ClassDef) -> FunctionNode | None:
    """The function that a call of a class runs; None where that is not certain."""
    names = [n for n in owner.body if isinstance(n, FunctionNode) and n.name in _MAKING]
    if len(names) != 1 or names[0].name != "__init__" or owner.decorator_list or owner.keywords:
        return None
    return names[0]


def _creates_itself(owner: ast.ClassDef) -> bool:
    """Say whether a class may create objects of itself without its name: `cls(...)`, `type(self)(...)`."""
    words = {
        last_name(node) for node in ast.walk(owner) if isinstance(node, ast.Name | ast.Attribute)
    }
    return bool(words & {"cls", "type", "__class__", "__new__"})


def _has_plain_bases(owner: ast.ClassDef) -> bool:
    return not owner.keywords and all(last_name(base) in _PLAIN_BASES for base in owner.bases)


def _is_outside(node: ast.AST, child: ast.AST) -> bool:
    """Decorators, bases and annotations stand in a definition, and belong to the scope around it."""
    if isinstance(node, FunctionNode):
        return child in node.decorator_list or child is node.returns
    return isinstance(node, ast.ClassDef) and (
        child in node.decorator_list or child in node.bases or child in node.keywords
    )
