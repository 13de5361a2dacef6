"""What is recorded of a Python file's classes: the names they bind, and what they set and read on `self`."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field

from agent_runner.validation.syntax import FunctionNode


@dataclass(slots=True, eq=False)
class Binding:
    """What one statement binds a name to: a class, something imported, a value, or (all empty) anything."""

    owner: Class | None = None
    imported: str = ""  # dotted
    value: ast.expr | None = None


@dataclass(slots=True, eq=False)
class Scope:
    """The names that a module, a class body or a function binds."""

    parent: Scope | None
    owner: Class | None = None  # the class whose body it is
    bindings: dict[str, list[Binding]] = field(default_factory=dict)

    def bind(self, name: str, binding: Binding) -> None:
        """Record one more binding of a name."""
        self.bindings.setdefault(name, []).append(binding)

    def find(self, name: str) -> list[Binding] | None:
        """Every binding of the scope that the name belongs to when read here; None where it has none."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.bindings and (scope is self or scope.owner is None):
                return scope.bindings[name]
            scope = scope.parent
        return None

    def class_around(self) -> Class | None:
        """The innermost class whose body the scope stands in: it decides what `self.__x` means."""
        scope: Scope | None = self
        while scope is not None and scope.owner is None:
            scope = scope.parent
        return None if scope is None else scope.owner


@dataclass(slots=True, eq=False)
class Method:
    """A function of a class body. `doubt` says why its first parameter may be no instance of the class."""

    name: str
    line: int
    node: FunctionNode
    doubt: str = ""
    rebound: bool = False  # its first parameter is assigned to
    replaced: bool = False  # another method of the same name follows
    on_class: bool = False  # a classmethod: its first parameter is the class
    local_names: dict[str, int] = field(default_factory=dict)  # name -> line


@dataclass(slots=True, eq=False)
class Setting:
    """One place that sets an attribute of `self`."""

    line: int
    scope: Scope
    how: str = ""  # "" for an assignment, else "register_buffer", "setattr", "+="
    value: ast.expr | None = None
    self_name: str = ""


@dataclass(slots=True, eq=False)
class Read:
    """One `self.attribute`, or with `through` one `self.through.attribute`."""

    attribute: str
    line: int
    method: Method
    through: str = ""
    is_call: bool = False


@dataclass(slots=True, eq=False)
class Class:
    """A class statement: the names of its body, and what its methods set and read on `self`."""

    name: str
    node: ast.ClassDef
    scope: Scope  # around it
    body: Scope  # of it
    source: Source
    methods: dict[str, Method] = field(default_factory=dict)
    settings: dict[str, list[Setting]] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    asks: list[Read] = field(default_factory=list)  # `hasattr(self, "x")`
    escapes: list[tuple[ast.expr | None, Scope]] = field(default_factory=list)  # calls given `self`
    beginnings: set[str] = field(default_factory=set)  # of names that are made at run time
    dynamic: bool = False  # sets attributes whose names cannot be read

    def set(self, name: str, setting: Setting) -> None:
        """Record one more place that sets an attribute."""
        self.settings.setdefault(name, []).append(setting)


@dataclass(slots=True, eq=False)
class Source:
    """Everything that the walk found in one file."""

    path: str
    scope: Scope = field(default_factory=lambda: Scope(None))
    classes: list[Class] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)  # attributes set on anything but a `self`
    guarded: set[str] = field(default_factory=set)  # attributes read where an error is caught
    asked: set[str] = field(default_factory=set)  # attributes of hasattr, or getattr with a default
    mentioned: set[str] = field(default_factory=set)  # attributes read, on anything
    strings: set[str] = field(default_factory=set)  # passed to calls
    called: dict[str, list[Scope]] = field(default_factory=lambda: defaultdict(list))
    handed: dict[str, list[Scope]] = field(default_factory=lambda: defaultdict(list))  # as values
    rebound: set[str] = field(default_factory=set)  # `global` and `nonlocal` names
    beginnings: set[str] = field(
        default_factory=set
    )  # of names set on other objects, made at run time
    dynamic: bool = False  # sets attributes of other objects under names that cannot be read
    catches: bool = False  # it has a handler for AttributeError
    starred: bool = False  # `from x import *`


@dataclass(slots=True)
class Context:
    """Where the walk over a file is. `selves` are the names that stand for an instance there."""

    scope: Scope
    selves: dict[str, tuple[Class, Method]]
    body_of: Class | None = None
    method: Method | None = None
    guarded: bool = False


def mangled(name: str, owner: Class | None) -> str:
    """The attribute's real name: `__x` in a class C is `_C__x`."""
    if owner is None or not name.startswith("__") or name.endswith("__"):
        return name
    stem = owner.name.lstrip("_")
    return f"_{stem}{name}" if stem else name
