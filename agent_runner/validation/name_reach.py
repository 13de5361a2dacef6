"""Which functions of a file something leads to: a fault in one that nothing calls ends no run."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable

from agent_runner.validation.name_scopes import Function, Program, Scope

# Methods that a library's or the harness's base class calls.
_CALLED_BY_BASES = re.compile(
    r"^(?:__\w+__|forward|encode|decode|step|run|call|build|main|setUp|tearDown|test_?\w*|\w+_step|"
    r"configure_optimizers|extra_repr|on_\w+)$"
)
_OF_PYTHON_2 = frozenset(
    [
        "__cmp__",
        "__coerce__",
        "__delslice__",
        "__div__",
        "__getslice__",
        "__hex__",
        "__long__",
        "__nonzero__",
        "__oct__",
        "__rdiv__",
        "__setslice__",
        "__unicode__",
    ]
)
# Decorators that hand a function to nobody else.
_LEAVE_IN_PLACE = frozenset(
    [
        "staticmethod",
        "classmethod",
        "property",
        "cached_property",
        "setter",
        "getter",
        "deleter",
        "no_grad",
        "inference_mode",
        "enable_grad",
        "wraps",
        "cache",
        "lru_cache",
        "dataclass",
        "dataclasses",
        "functools",
        "torch",
        "contextmanager",
        "contextlib",
        "abstractmethod",
        "abc",
        "override",
        "overload",
        "final",
        "compile",
        "jit",
        "njit",
        "script",
        "ignore",
        "beartype",
        "jaxtyped",
    ]
)
_IDENTIFIER = re.compile(r"^[^\W\d]\w{0,99}$")


def reached_functions(program: Program, others: Iterable[str] = ()) -> set[ast.AST]:
    """The functions (by node, and the module's) that the module's own code mentions, directly or not.

    A name counts as mentioned wherever it stands: called, passed on, read as an attribute, or written as
    a string. `others` are the texts of other files, where every word counts.
    """
    return _Reach(program, others).reached


class _Reach:
    def __init__(self, program: Program, others: Iterable[str]) -> None:
        self._program = program
        self._mentions: dict[ast.AST, set[str]] = defaultdict(set)
        for node, scope in program.scopes.items():
            word = _mention(node)
            if word:
                self._mentions[_unit(program, scope)].add(word)
        self._classes = {
            scope.name: scope.node
            for scope in program.inner.values()
            if isinstance(scope.node, ast.ClassDef)
        }
        self._known: set[str] = set()
        self.reached: set[ast.AST] = set()
        self._spread({word for text in others for word in re.findall(r"[^\W\d]\w*", text)})

    def _spread(self, words: set[str]) -> None:
        # What may lead to a function: its name, its class's name, and the function around it.
        waiting: dict[str | ast.AST, list[Scope]] = defaultdict(list)
        for scope in self._program.inner.values():
            if isinstance(scope.node, Function) and scope.parent:
                for key in (scope.name, scope.parent.name, _unit(self._program, scope.parent)):
                    waiting[key].append(scope)
        news: list[str | ast.AST] = [*words, self._program.tree]
        self._known |= words
        self.reached.add(self._program.tree)
        while news:
            key = news.pop()
            if isinstance(key, ast.AST):
                fresh = self._mentions[key] - self._known
                self._known |= fresh
                news += fresh
            for scope in waiting.pop(key, []):
                if scope.node not in self.reached and self._is_reached(scope):
                    self.reached.add(scope.node)
                    news.append(scope.node)

    def _is_reached(self, scope: Scope) -> bool:
        parent = scope.parent
        if parent is None or _unit(self._program, parent) not in self.reached:
            return False
        if scope.name in self._known or _is_handed_on(scope.node):
            return True
        if not isinstance(parent.node, ast.ClassDef):
            return False
        if parent.name not in self._known and not _is_handed_on(parent.node):
            return False
        if scope.name.startswith("__") and scope.name.endswith("__"):
            return scope.name not in _OF_PYTHON_2
        return bool(_CALLED_BY_BASES.match(scope.name)) and self._has_foreign_base(parent.node)

    def _has_foreign_base(self, node: ast.ClassDef) -> bool:
        seen: set[str] = set()
        waiting = [node]
        while waiting:
            for base in waiting.pop().bases:
                name = getattr(base, "id", "")
                if name not in self._classes:
                    return name != "object"
                if name not in seen:
                    seen.add(name)
                    waiting.append(self._classes[name])
        return False


def enclosing_functions(program: Program, scope: Scope) -> list[Scope]:
    """The functions whose bodies a scope stands in, the innermost first; lambdas are left out."""
    found = []
    inner: Scope | None = scope
    while inner is not None:
        if isinstance(inner.node, Function):
            found.append(inner)
        inner = inner.parent
    return found


def _unit(program: Program, scope: Scope) -> ast.AST:
    around = enclosing_functions(program, scope)
    return around[0].node if around else program.tree


def _mention(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value if _IDENTIFIER.match(node.value) else ""
    return ""


def _is_handed_on(node: ast.AST) -> bool:
    """Whether a decorator may register what it decorates."""
    assert isinstance(node, Function | ast.ClassDef)
    for decorator in node.decorator_list:
        function = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = getattr(function, "attr", getattr(function, "id", ""))
        if name not in _LEAVE_IN_PLACE:
            return True
    return False
