"""A missing attribute in words: what happens, where, and what to change."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from agent_runner.records import Problem
from agent_runner.validation.classes import Class, Read, Setting, Source
from agent_runner.validation.lineage import Lineage, Program
from agent_runner.validation.syntax import last_name, listed

_ALIKE = 0.75  # difflib's ratio from which a name counts as a slip for another


@dataclass(frozen=True)
class Fault:
    """An attribute that is read and has no value. `reads` are all reads, the one to tell of first."""

    owner: Class  # in which it is read
    target: Class  # on which it is looked for
    attribute: str
    reads: tuple[Read, ...]
    doubt: str  # why it may be none; "" where it is certain
    set_at: int = 0  # the first line that sets it, where that comes too late

    @property
    def key(self) -> tuple[str, str, bool]:
        """What stays the same wherever the fault stands in a file."""
        return self.target.name, self.attribute, not self.doubt


class Words:
    """Puts the faults of one file into words."""

    def __init__(self, source: Source, program: Program, heirs: Mapping[int, list[Class]]) -> None:
        self.source = source
        self.program = program
        self.heirs = heirs

    def problem(self, fault: Fault) -> Problem:
        """The problem to tell the agent."""
        owner, target, attribute = fault.owner, fault.target, fault.attribute
        first = fault.reads[0]
        place = f"{owner.name}.{first.method.name}"
        self_name = _self_name(first)
        prefix = f"{self_name}.{first.through}" if first.through else self_name
        shown = f"`{prefix}.{_shown(attribute, target)}`"
        lineage = self.program.lineage(target)
        bases = [c.name for c in lineage.classes[1:]]
        whole = target.name + (
            f" or its base{'s' * (len(bases) > 1)} {', '.join(bases)}" if bases else ""
        )
        updated = target.settings.get(attribute)
        if fault.set_at:
            what = f"is read in {place} before line {fault.set_at} sets it"
        elif updated:
            what = f"is only updated in {place}, and {whole} never gives it a first value"
        else:
            verb = "called" if first.is_call else "read"
            nothing = "defines or sets" if first.is_call else "sets"
            what = f"is {verb} in {place}, but nothing {nothing} it on {whole}"
        may = "will raise" if not fault.doubt else "may raise"
        lines = sorted({r.line for r in fault.reads[1:]} - {first.line})
        also = f" It is also read at {listed(lines)}." if lines else ""
        unsure = f" Not certain: {fault.doubt}." if fault.doubt else ""
        advice = (
            f"Move what sets it (line {fault.set_at}) above line {first.line}."
            if fault.set_at
            else self._advice(owner, target, lineage, attribute, first, prefix)
        )
        return Problem(
            kind="attribute_error",
            path=self.source.path,
            line=first.line,
            severity="warning" if fault.doubt else "error",
            message=f"{self.source.path}:{first.line}: {shown} {what}: this line {may} AttributeError."
            f"{also}{unsure} {advice}",
        )

    def asked(self, owner: Class, ask: Read) -> Problem | None:
        """The warning for `hasattr(self, "x")` where an object that `self` holds has the `x`; else None."""
        held = self._on_a_held_object(owner, ask.attribute)
        if not held:
            return None
        return Problem(
            kind="doubtful_code",
            path=self.source.path,
            line=ask.line,
            severity="warning",
            message=f"{self.source.path}:{ask.line}: nothing sets `{ask.attribute}` on {owner.name}, so it is "
            f"never found here, in {owner.name}.{ask.method.name}, and what depends on it is left out in "
            f"silence. {held}",
        )

    def _advice(
        self, owner: Class, target: Class, lineage: Lineage, attribute: str, read: Read, prefix: str
    ) -> str:
        """What to change, from the likeliest slip to the least."""
        held = "" if read.through else self._on_a_held_object(owner, attribute)
        if held:
            return held
        if attribute in target.settings:
            where = self._where(target, lineage, read)
            if where.startswith(f"Set it in {target.name}."):
                where = f"Set `{prefix}.{attribute} = ...` in {target.name}.__init__"
            return f"{where} first."
        alike = _closest(attribute, lineage, read.method.name)
        if alike:
            return f"Did you mean `{prefix}.{_shown(alike, target)}`?"
        local = _local(attribute, target, read, prefix)
        if local:
            return local
        for other in self.source.classes:
            if attribute in other.settings:
                setting = other.settings[attribute][0]
                return (
                    f"{other.name} sets an attribute of that name (line {setting.line}{_how(setting)}), "
                    f"but {owner.name} does not inherit from it. {self._where(target, lineage, read)}."
                )
        method = ", define it as a method" if read.is_call else ""
        return f"{self._where(target, lineage, read)}{method}, or correct the name."

    def _on_a_held_object(self, owner: Class, attribute: str) -> str:
        """Advice where another object that the class, or a class derived from it, holds has the attribute."""
        for other in self.source.classes:
            lineage = self.program.lineage(other)
            if other is owner or attribute in lineage.names or not lineage.provides(attribute):
                continue
            held = self._held_as(owner, other)
            if held:
                where = other.settings.get(attribute)
                line = f" (line {where[0].line}{_how(where[0])})" if where else ""
                return (
                    f"It is set on {other.name}{line}, which {held[0]} as `self.{held[1]}`: "
                    f"write `self.{held[1]}.{attribute}`."
                )
        return ""

    def _held_as(self, owner: Class, other: Class) -> tuple[str, str] | None:
        """Who holds an object of another class ("T holds"), and in which attribute; None for nobody.

        Certain is `self.x = Other(...)`; likely is an `x` of which attributes are read that only the
        other class sets.
        """
        heirs = [owner, *(h for h in self.heirs.get(id(owner), []) if h is not owner)]
        bases = [(heir, base) for heir in heirs for base in self.program.lineage(heir).classes]
        for heir, base in bases:
            for holder, settings in base.settings.items():
                if self.program.created(settings[0], base) is other:
                    return f"{heir.name} holds", holder
        common = self.program.lineage(owner).names
        own = {name for c in self.program.lineage(other).classes for name in c.settings} - common
        for heir, base in bases:
            for read in base.reads:
                if read.through and read.attribute in own:
                    return f"{heir.name} seems to hold", read.through
        return None

    def _where(self, target: Class, lineage: Lineage, read: Read) -> str:
        """Where an attribute gets its value, so that every object of the class has it."""
        if _has_fields(lineage):
            return f"Add it to the fields of {target.name} (`{read.attribute}: ... = ...`)"
        if "__init__" in target.body.bindings:
            early = f", before line {read.line}" if read.method.name == "__init__" else ""
            return f"Set it in {target.name}.__init__{early}"
        heirs = [h for h in self.heirs.get(id(target), []) if h is not target]
        if heirs and all("__init__" in h.body.bindings for h in heirs):
            return f"Set it in {' and '.join(f'{h.name}.__init__' for h in heirs[:3])}"
        if heirs:
            return f"Give it a first value in the body of {target.name}"
        inherits = len(lineage.classes) > 1 or lineage.names - set(dir(object))
        return f"Set it in {target.name}.__init__" + (
            ", after `super().__init__(...)` there" if inherits else ""
        )


def _self_name(read: Read) -> str:
    arguments = read.method.node.args
    return [*arguments.posonlyargs, *arguments.args][0].arg


def _has_fields(lineage: Lineage) -> bool:
    """Say whether the class's `__init__` is made from its fields: a dataclass, or a NamedTuple."""
    owner = lineage.classes[0]
    if "__init__" in owner.body.bindings:
        return False
    decorated = any(last_name(d) == "dataclass" for d in owner.node.decorator_list)
    return decorated or "_field_defaults" in lineage.names


def _closest(attribute: str, lineage: Lineage, method: str) -> str:
    """The likeliest name for which this one is a slip ("" where none is near), but not the method's own."""
    read = {r.attribute for c in lineage.classes for r in c.reads}
    near = difflib.get_close_matches(attribute, sorted(lineage.all_names() - {method}), 5, _ALIKE)

    def likelihood(name: str) -> tuple[bool, bool, float]:
        swapped = sorted(name) == sorted(attribute)
        ratio = difflib.SequenceMatcher(None, attribute, name).ratio()
        return (swapped, name not in read, ratio)

    return max(near, key=likelihood, default="")


def _local(attribute: str, target: Class, read: Read, prefix: str) -> str:
    """Advice where a method has a variable or an argument of that name."""
    methods = [m for m in target.methods.values() if attribute in m.local_names]
    for method in sorted(methods, key=lambda m: m is not read.method):
        line = method.local_names[attribute]
        kind = "an argument" if line == method.line else "a local variable"
        if method is read.method:
            return (
                f"`{attribute}` is {kind} of {method.name} itself (line {line}): write it without "
                f"`{prefix}.`, or set `{prefix}.{attribute}` first."
            )
        return (
            f"`{attribute}` is {kind} of {target.name}.{method.name} (line {line}): "
            f"write `self.{attribute} = {attribute}` there."
        )
    return ""


def _how(setting: Setting) -> str:
    return f", {setting.how}" if setting.how else ""


def _shown(attribute: str, owner: Class) -> str:
    prefix = f"_{owner.name.lstrip('_')}__"
    return attribute.removeprefix(prefix[:-2]) if attribute.startswith(prefix) else attribute
