"""`self.x` that nothing sets: found in the text, where no linter looks.

An error is a read that raises AttributeError in any program that reaches its line, in a class that the file
creates objects of. What depends on more than the text shows is a warning, and what is merely unknown (a base
from a library, names made at run time, attributes set from outside) is passed over.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent_runner.records import Problem
from agent_runner.validation.attribute_words import Fault, Words
from agent_runner.validation.classes import Class, Read, Scope, Source
from agent_runner.validation.init_order import read_too_early
from agent_runner.validation.known_bases import FRAMEWORK_METHODS
from agent_runner.validation.lineage import Program, parsed

_MOST = 20  # problems of one severity
_TYPE_NAMES = frozenset(dir(type))


def check_attributes(
    name: str, text: str, modules: Mapping[str, str], before: str | None = None
) -> list[Problem]:
    """Find the attributes that methods read on `self`, and that neither the class nor a base ever sets.

    `name` is the path of `text`; `modules` are the template's other Python files (path -> text), in which
    imported bases are looked up. One problem per class and attribute, at its first read, and at most 20 of
    each severity. What the text `before` the edit (the template's) shows too is not the edit's.
    """
    try:
        check, faults = _faults(name, text, modules)
        if check is None or not faults:
            return []
        old = {f.key for f in _faults(name, before, modules)[1]} if before is not None else set()
    except RecursionError:  # such a text is refused elsewhere: it does not compile, or cannot run
        return []
    fresh = [
        f for f in faults if f.key not in old and (f.target.name, f.attribute, True) not in old
    ]
    fresh.sort(key=lambda f: f.reads[0].line)
    told = [f for f in fresh if not f.doubt][:_MOST] + [f for f in fresh if f.doubt][:_MOST]
    words = Words(check.source, check.program, check.heirs)
    return [words.problem(fault) for fault in sorted(told, key=lambda f: f.reads[0].line)]


def check_asked(
    name: str, text: str, modules: Mapping[str, str], before: str | None
) -> list[Problem]:
    """Find `hasattr(self, "x")` that is always False since another object, held by this one, has the `x`.

    Nothing is raised there; what depends on it is left out in silence, so this is worth a warning.
    """
    found = _asked(name, text, modules)
    old = (
        {key for key, _ in _asked(name, before, modules)} if found and before is not None else set()
    )
    return [problem for key, problem in found if key not in old][:_MOST]


def _asked(
    name: str, text: str, modules: Mapping[str, str]
) -> list[tuple[tuple[str, str], Problem]]:
    try:
        source = parsed(name, text)
        if source is None or not any(owner.asks for owner in source.classes):
            return []
        check = _Check(source, modules)
        words = Words(source, check.program, check.heirs)
        return [
            ((owner.name, ask.attribute), problem)
            for owner in source.classes
            for ask in owner.asks
            if check.never_set(owner, ask.attribute) and (problem := words.asked(owner, ask))
        ]
    except RecursionError:
        return []


@dataclass(frozen=True)
class Judged:
    """What others that speak of attributes leave to this check: `self` in some lines, and open classes."""

    lines: tuple[range, ...] = ()  # of classes whose bases are all in sight
    open_classes: frozenset[str] = frozenset()  # whose attributes are made at run time


def judged(name: str, text: str, modules: Mapping[str, str]) -> Judged:
    """Which classes of a file are judged here, and which nobody can judge."""
    source = parsed(name, text)
    if source is None:
        return Judged()
    program = Program(source, modules)
    lineages = [program.lineage(owner) for owner in source.classes]
    own = [lineage.classes[0].node for lineage in lineages if not lineage.foreign]
    made_up = [x.classes[0].name for x in lineages if not x.known and not x.foreign]
    lines = tuple(range(node.lineno, (node.end_lineno or node.lineno) + 1) for node in own)
    return Judged(lines, frozenset(made_up))


def _faults(name: str, text: str, modules: Mapping[str, str]) -> tuple[_Check | None, list[Fault]]:
    source = parsed(name, text)
    if source is None:
        return None, []
    check = _Check(source, modules)
    return check, list(check.faults())


class _Check:
    def __init__(self, source: Source, modules: Mapping[str, str]) -> None:
        self.source = source
        self.program = Program(source, modules)
        self.heirs: dict[int, list[Class]] = {}
        self.held: dict[tuple[int, str], Class | None] = {}
        for owner in source.classes:
            for base in self.program.lineage(owner).classes:
                self.heirs.setdefault(id(base), []).append(owner)
        self.live = {
            id(c)
            for c in source.classes
            if any(self._names(c, scope) for scope in source.called.get(c.name, ()))
        }

    def faults(self) -> Iterator[Fault]:
        """Every fault of the file, at most one for a class and an attribute."""
        if any(self.program.lineage(owner).too_long() for owner in self.source.classes):
            return
        told: set[tuple[int, str]] = set()  # class and attribute
        for held in (False, True):
            for owner in self.source.classes:
                for (through, attribute), reads in _grouped(owner, held).items():
                    target = self._held(owner, through) if through else owner
                    if target is None or (id(target), attribute) in told:
                        continue
                    fault = self._judged(owner, target, attribute, reads)
                    if fault is not None:
                        told.add((id(target), attribute))
                        yield fault

    def _judged(
        self, owner: Class, target: Class, attribute: str, reads: list[Read]
    ) -> Fault | None:
        """The fault of one attribute, at its first certain read, or its first doubtful one."""
        set_at = 0
        if not self._missing(target, attribute, reads[0], exact=target is not owner):
            late = self._set_later(target, attribute, reads) if target is owner else None
            if late is None:
                return None
            reads, set_at = [late[0]], late[1]
        through = reads[0].through
        if through and any(through in m.stored for m in self.program.mentioning(through)):
            return None  # another module may put another object there
        doubts = [(self._doubt(owner, target, attribute, read), read) for read in reads]
        told = [(doubt, read) for doubt, read in doubts if doubt is not None]
        if not told:
            return None
        doubt, first = min(told, key=lambda pair: bool(pair[0]))
        return Fault(owner, target, attribute, (first, *reads), doubt, set_at)

    # ---- is it set?

    def _missing(self, owner: Class, attribute: str, read: Read, exact: bool) -> bool:
        """Say whether nothing that is known sets the attribute, and nothing unknown could."""
        if attribute.startswith("__") and attribute.endswith("__"):
            return False
        if _elsewhere(attribute, self.source):
            return False
        if read.method.on_class and attribute in _TYPE_NAMES:
            return False
        heirs = [] if exact else self.heirs.get(id(owner), [])
        for heir in [owner, *heirs]:
            lineage = self.program.lineage(heir)
            if not lineage.known or lineage.provides(attribute):
                return False
        return not any(_elsewhere(attribute, other) for other in self.program.mentioning(attribute))

    def never_set(self, owner: Class, attribute: str) -> bool:
        """Say whether nothing known sets the attribute on objects of the class, and nothing unknown could."""
        source = self.source
        if source.dynamic or attribute in source.stored or self.program.dynamic_module():
            return False
        lineages = [self.program.lineage(heir) for heir in self.heirs.get(id(owner), [owner])]
        return all(x.known and not x.doubt and not x.provides(attribute) for x in lineages)

    def _held(self, owner: Class, through: str) -> Class | None:
        """The class of our own whose object `self.through` always is; None where it may be another."""
        key = (id(owner), through)
        if key not in self.held:
            self.held[key] = self._held_class(owner, through)
        return self.held[key]

    def _held_class(self, owner: Class, through: str) -> Class | None:
        """The class of every object that is ever stored in the attribute."""
        if through in self.source.stored:
            return None
        found: set[int] = set()
        target: Class | None = None
        for heir in self.heirs.get(id(owner), [owner]):
            lineage = self.program.lineage(heir)
            if not lineage.known:
                return None
            for holder in lineage.classes:
                if through in holder.body.bindings:
                    return None
                for setting in holder.settings.get(through, ()):
                    target = self.program.created(setting, holder)
                    if target is None:
                        return None
                    found.add(id(target))
        return target if len(found) == 1 else None

    def _names(self, owner: Class, scope: Scope) -> bool:
        """Say whether the class's name means the class, where it is read in this scope."""
        bindings = scope.find(owner.name)
        return (
            bindings is not None
            and len(bindings) == 1
            and bindings[0].owner is owner
            and owner.name not in self.source.rebound
        )

    def _set_later(
        self, owner: Class, attribute: str, reads: list[Read]
    ) -> tuple[Read, int] | None:
        """The read that comes before the only lines that set the attribute, and the first of these lines."""
        lineages = [self.program.lineage(heir) for heir in self.heirs.get(id(owner), [owner])]
        if _elsewhere(attribute, self.source) or not all(lineage.known for lineage in lineages):
            return None
        if any(_elsewhere(attribute, other) for other in self.program.mentioning(attribute)):
            return None
        for lineage in lineages:
            for held in lineage.classes:
                if held is not owner and held.settings.get(attribute):
                    return None
            bodies = any(attribute in c.body.bindings for c in lineage.classes)
            if bodies or attribute in lineage.names or lineage.made(attribute):
                return None
        return read_too_early(owner, attribute, reads)

    # ---- is it certain?

    def _doubt(self, owner: Class, target: Class, attribute: str, read: Read) -> str | None:
        """Why the fault may be none: "" where it is certain, None where it is not worth a word."""
        method = read.method
        heirs = self.heirs.get(id(owner), [owner])
        live = [h for h in heirs if id(h) in self.live]
        if not live:
            handed = self.source.handed.get(owner.name, ())
            if not any(self._names(owner, scope) for scope in handed):
                return None
            return f"{owner.name} is not created by name in this file"
        for scope in (
            *self.source.handed.get(method.name, ()),
            *self.source.called.get(method.name, ()),
        ):
            if scope.owner is owner:
                return None  # used as a plain function in the class's own body
        lineage = self.program.lineage(target)
        dynamic = self.source.path if self.source.dynamic else self.program.dynamic_module()
        if dynamic:
            return f"{dynamic} sets attributes under names made at run time"
        if method.name in self.source.asked:
            return f"`{method.name}` is asked for with hasattr or getattr, which hide the error"
        if self.source.catches:
            return f"{self.source.path} catches AttributeError"
        for doubt in (lineage.doubt, self.program.lineage(owner).doubt, method.doubt):
            if doubt:
                return doubt
        for text in (attribute, attribute.rpartition("_")[0]):  # prune(sae, "W") sets `W_mask`
            if text in self.source.strings:
                return f'"{text}" is passed to a call, which may set it'
        for heir in [target, *live]:
            for base in self.program.lineage(heir).classes:
                if any(not self._harmless(call, scope, base) for call, scope in base.escapes):
                    return f"{base.name} hands `self` to code that may set it"
        if not self._reached(owner, live, read):
            return f"nothing here calls {owner.name}.{method.name}"
        return ""

    def _harmless(self, call: ast.expr | None, scope: Scope, owner: Class) -> bool:
        """Say whether a call that is given `self` is to a class or function of this file, or to a base."""
        if isinstance(call, ast.Name):
            bindings = scope.find(call.id)
            return bindings is not None and not any(b.imported or b.value for b in bindings)
        if isinstance(call, ast.Attribute):
            shown = ast.dump(call.value)
            return any(ast.dump(base) == shown for base in owner.node.bases)
        return False

    def _reached(self, owner: Class, live: list[Class], read: Read) -> bool:
        """Say whether the method is called, as far as the text shows, on objects that are created here."""
        name = read.method.name
        dunder = name.startswith("__") and name.endswith("__")
        mentioned = name in self.source.mentioned or any(
            name in other.mentioned for other in self.program.mentioning(name)
        )
        if not (dunder or name in FRAMEWORK_METHODS or mentioned):
            return False
        for heir in live:
            nearest = next(c for c in self.program.lineage(heir).classes if name in c.body.bindings)
            if nearest is owner or "super" in self.source.called:
                return True
        return False


def _elsewhere(attribute: str, source: Source) -> bool:
    """Say whether a file sets the attribute on some object, or allows for its absence."""
    return (
        attribute in source.stored
        or attribute in source.guarded
        or attribute in source.asked
        or attribute.startswith(tuple(source.beginnings))
    )


def _grouped(owner: Class, held: bool) -> dict[tuple[str, str], list[Read]]:
    """The reads of a class by (through, attribute), in line order: of `self`, or of what it holds."""
    found: dict[tuple[str, str], list[Read]] = {}
    for read in sorted(owner.reads, key=lambda r: r.line):
        usable = not (read.method.rebound or read.method.replaced)
        if usable and bool(read.through) == held:
            found.setdefault((read.through, read.attribute), []).append(read)
    return found
