"""Which classes a class inherits from, over the files of a template, and what is certain about them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from agent_runner.validation.class_walk import collect
from agent_runner.validation.classes import Binding, Class, Scope, Setting, Source
from agent_runner.validation.known_bases import KNOWN, PLAIN_DECORATORS, builtin_names
from agent_runner.validation.syntax import last_name

_DEEPEST = 40  # aliases and imports that are followed one after the other
_LONGEST = 40  # classes in one line of inheritance; a file with more is not judged
_DYNAMIC = ("setattr", "__dict__", "vars(", "exec(")  # without one of these a module is not dynamic
# What is evaluated in some cases only.
_SOMETIMES = (
    ast.Lambda
    | ast.IfExp
    | ast.BoolOp
    | ast.ListComp
    | ast.SetComp
    | ast.DictComp
    | ast.GeneratorExp
)


@dataclass
class Lineage:
    """A class and all its bases. `names` are the attributes of library bases."""

    classes: list[Class]
    names: set[str] = field(default_factory=set)
    known: bool = True  # every base is known, and none can make attributes up
    foreign: bool = False  # a base comes from a library that is not known here
    doubt: str = ""

    def provides(self, attribute: str) -> bool:
        """Say whether the attribute is one of the library's, named in a class body, or set on `self`."""
        return (
            attribute in self.names
            or self.made(attribute)
            or any(
                attribute in c.body.bindings
                or any(not _needs_itself(s, attribute) for s in c.settings.get(attribute, ()))
                for c in self.classes
            )
        )

    def made(self, attribute: str) -> bool:
        """Say whether a name made at run time on `self` may be this one: `setattr(self, f"x_{i}", ...)`."""
        return any(attribute.startswith(tuple(c.beginnings)) for c in self.classes)

    def too_long(self) -> bool:
        """Say whether the line of bases was too long to be followed to its end."""
        return len(self.classes) > _LONGEST

    def makes_others(self) -> bool:
        """Say whether a call of the class may return something else than an object of it."""
        return any("__new__" in c.body.bindings for c in self.classes)

    def all_names(self) -> set[str]:
        """Every attribute that is known of the class."""
        found = set(self.names)
        for owner in self.classes:
            found.update(owner.body.bindings, owner.settings)
        return found


class Program:
    """The file that is checked and the modules beside it, parsed when they are first asked for."""

    def __init__(self, source: Source, modules: Mapping[str, str]) -> None:
        self.source = source
        self._texts = modules
        self._sources: dict[str, Source | None] = {source.path: source}
        self._lineages: dict[int, Lineage] = {}

    def module(self, path: str) -> Source | None:
        """What a module sets and reads; None where there is none such, or it does not parse."""
        if path not in self._sources:
            self._sources[path] = parsed(path, self._texts[path]) if path in self._texts else None
        return self._sources[path]

    def mentioning(self, word: str) -> list[Source]:
        """The other modules in whose text the word stands."""
        found = [
            self.module(p) for p, t in self._texts.items() if p != self.source.path and word in t
        ]
        return [source for source in found if source is not None]

    def dynamic_module(self) -> str:
        """A module that sets attributes of other objects under names made at run time; "" for none."""
        for path, text in self._texts.items():
            if path != self.source.path and any(word in text for word in _DYNAMIC):
                source = self.module(path)
                if source is not None and source.dynamic:
                    return path
        return ""

    # ---- names

    def resolve(
        self, node: ast.expr, scope: Scope, source: Source, depth: int = 0
    ) -> Class | str | None:
        """The class that an expression names: one of ours, the dotted name of a library's, or None."""
        if depth > _DEEPEST:
            return None
        if isinstance(node, ast.Subscript):
            return self.resolve(node.value, scope, source, depth + 1)
        if isinstance(node, ast.Attribute):
            inner = self.resolve(node.value, scope, source, depth + 1)
            return (
                self._imported(f"{inner}.{node.attr}", source, depth)
                if isinstance(inner, str)
                else None
            )
        if not isinstance(node, ast.Name) or node.id in source.rebound:
            return None
        bindings = scope.find(node.id)
        if bindings is None:
            return None if source.starred else f"builtins.{node.id}"
        found = [self._bound(b, scope, source, depth + 1) for b in bindings]
        first = found[0]
        return first if all(f is first or f == first for f in found[1:]) else None

    def _bound(
        self, binding: Binding, scope: Scope, source: Source, depth: int
    ) -> Class | str | None:
        if binding.owner is not None:
            return binding.owner
        if binding.imported:
            return self._imported(binding.imported, source, depth)
        if binding.value is not None and isinstance(binding.value, ast.Name | ast.Attribute):
            return self.resolve(binding.value, scope, source, depth + 1)
        return None

    def _imported(self, dotted: str, source: Source, depth: int) -> Class | str | None:
        """A dotted name that was imported: a class of one of the modules, or the name itself."""
        if dotted.startswith("."):
            level = len(dotted) - len(dotted.lstrip("."))
            package = source.path.split("/")[:-level]
            dotted = ".".join([*package, dotted.lstrip(".")])
        parts = dotted.split(".")
        for end in range(len(parts), 0, -1):
            stem = "/".join(parts[:end])
            found = self.module(f"{stem}.py") or self.module(f"{stem}/__init__.py")
            if found is None or found is self.source:
                continue
            rest = parts[end:]
            if not rest:
                return dotted
            if len(rest) > 1 or rest[0] in found.rebound or depth > _DEEPEST:
                return None
            bindings = found.scope.bindings.get(rest[0], [])
            if len(bindings) == 1:
                return self._bound(bindings[0], found.scope, found, depth + 1)
            return None if bindings or end == len(parts) - 1 else dotted
        return dotted

    def created(self, setting: Setting, holder: Class) -> Class | None:
        """The class of `self.x = C(...)`."""
        value = setting.value
        if setting.how or not isinstance(value, ast.Call):
            return None
        resolved = self.resolve(value.func, setting.scope, holder.source)
        if not isinstance(resolved, Class) or self.lineage(resolved).makes_others():
            return None
        return resolved

    # ---- inheritance

    def lineage(self, owner: Class) -> Lineage:
        """The class with all its bases, nearest first."""
        found = self._lineages.get(id(owner))
        if found is None:
            found = self._lineages[id(owner)] = Lineage([owner])  # stands while a cycle is followed
            self._extend(found, owner)
        return found

    def _extend(self, found: Lineage, owner: Class) -> None:
        node = owner.node
        found.names.update(dir(object))
        if owner.dynamic or {"__getattr__", "__getattribute__"} & owner.body.bindings.keys():
            found.known = False
        for keyword in node.keywords:
            if keyword.arg != "metaclass" or last_name(keyword.value) not in ("ABCMeta", "type"):
                found.known = False
        for decorator in node.decorator_list:
            plain = decorator.func if isinstance(decorator, ast.Call) else decorator
            if last_name(plain) not in PLAIN_DECORATORS:
                found.doubt = (
                    f"the decorator {last_name(plain) or '?'} of {owner.name} is not known here"
                )
        for base in node.bases:
            resolved = self.resolve(base, owner.scope, owner.source)
            if isinstance(resolved, Class):
                inherited = self.lineage(resolved)
                fresh = [c for c in inherited.classes if c not in found.classes]
                found.classes += fresh[: _LONGEST + 1]
                found.names |= inherited.names
                found.known &= inherited.known and resolved is not owner
                found.foreign |= inherited.foreign
                found.doubt = found.doubt or inherited.doubt
                continue
            names = _library(resolved)
            if names is None:
                found.known = False
                found.foreign = True
            else:
                found.names |= names


@lru_cache(maxsize=64)
def parsed(path: str, text: str) -> Source | None:
    """Parse a file and collect what its classes do; None where it does not parse. Not to be changed.

    Remembered: several checks ask about the same files, and the template's are the same for every edit.
    """
    try:
        return collect(path, ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _library(resolved: str | None) -> frozenset[str] | None:
    if resolved is None:
        return None
    if resolved.startswith("builtins."):
        return builtin_names(resolved.removeprefix("builtins."))
    return KNOWN.get(resolved.replace("typing_extensions.", "typing."))


def _needs_itself(setting: Setting, attribute: str) -> bool:
    """Say whether a statement reads the attribute that it sets: `self.n += 1`, `self.n = self.n + 1`."""
    if setting.how == "+=":
        return True
    waiting: list[ast.AST] = [setting.value] if setting.value is not None else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, _SOMETIMES):
            continue
        if (
            isinstance(node, ast.Attribute)
            and node.attr == attribute
            and isinstance(node.value, ast.Name)
            and node.value.id == setting.self_name
        ):
            return True
        waiting.extend(
            n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr | ast.keyword)
        )
    return False
