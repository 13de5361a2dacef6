"""`self.x` that nothing sets: found in the text, where no linter looks.

An error is a read that raises AttributeError in any program that reaches its line, in a class that the file
creates objects of. What depends on more than the text shows is a warning, and what is merely unknown (a base
from a library, names made at run time, attributes set from outside) is passed over.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping

from agent_runner.records import Problem
from agent_runner.validation.classes import Class, Read, Scope, Setting, Source
from agent_runner.validation.known_bases import FRAMEWORK_METHODS
from agent_runner.validation.lineage import Lineage, Program, parsed
from agent_runner.validation.syntax import listed

_ALIKE = 0.75  # difflib's ratio from which a name counts as a slip for another
_TYPE_NAMES = frozenset(dir(type))


def check_attributes(name: str, text: str, modules: Mapping[str, str]) -> list[Problem]:
    """Find the attributes that methods read on `self`, and that neither the class nor a base ever sets.

    `name` is the path of `text`; `modules` are the template's other Python files (path -> text), in which
    imported bases are looked up. One problem per class and attribute, at its first read.
    """
    source = parsed(name, text)
    if source is None:
        return []
    try:
        return sorted(_Check(source, modules).problems(), key=lambda p: p.line or 0)
    except RecursionError:  # such a text is refused elsewhere: it does not compile, or cannot run
        return []


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

    def problems(self) -> Iterator[Problem]:
        if any(self.program.lineage(owner).too_long() for owner in self.source.classes):
            return
        told: set[tuple[int, str]] = set()  # class and attribute
        for held in (False, True):
            for owner in self.source.classes:
                for (through, attribute), reads in _grouped(owner, held).items():
                    target = self._held(owner, through) if through else owner
                    if target is None or (id(target), attribute) in told:
                        continue
                    problem = self._judged(owner, target, attribute, reads)
                    if problem is not None:
                        told.add((id(target), attribute))
                        yield problem

    def _judged(
        self, owner: Class, target: Class, attribute: str, reads: list[Read]
    ) -> Problem | None:
        """The problem of one attribute, at its first certain read, or its first doubtful one."""
        if not self._missing(target, attribute, reads[0], exact=target is not owner):
            return None
        through = reads[0].through
        if through and any(through in m.stored for m in self.program.mentioning(through)):
            return None  # another module may put another object there
        doubts = [(self._doubt(owner, target, attribute, read), read) for read in reads]
        told = [(doubt, read) for doubt, read in doubts if doubt is not None]
        if not told:
            return None
        doubt, first = min(told, key=lambda pair: bool(pair[0]))
        return self._problem(owner, target, attribute, [first, *reads], doubt)

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
                    target = self._created(setting, holder)
                    if target is None:
                        return None
                    found.add(id(target))
        return target if len(found) == 1 else None

    def _created(self, setting: Setting, holder: Class) -> Class | None:
        """The class of `self.x = C(...)`."""
        value = setting.value
        if setting.how or not isinstance(value, ast.Call):
            return None
        resolved = self.program.resolve(value.func, setting.scope, holder.source)
        if not isinstance(resolved, Class) or self.program.lineage(resolved).makes_others():
            return None
        return resolved

    def _names(self, owner: Class, scope: Scope) -> bool:
        """Say whether the class's name means the class, where it is read in this scope."""
        bindings = scope.find(owner.name)
        return (
            bindings is not None
            and len(bindings) == 1
            and bindings[0].owner is owner
            and owner.name not in self.source.rebound
        )

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

    # ---- in words

    def _problem(
        self, owner: Class, target: Class, attribute: str, reads: list[Read], doubt: str
    ) -> Problem:
        """What happens, where, and what to change. `reads` are all reads, the one to tell of first."""
        first = reads[0]
        place = f"{owner.name}.{first.method.name}"
        self_name = self._self_name(first)
        prefix = f"{self_name}.{first.through}" if first.through else self_name
        shown = f"`{prefix}.{_shown(attribute, target)}`"
        lineage = self.program.lineage(target)
        bases = [c.name for c in lineage.classes[1:]]
        whole = target.name + (
            f" or its base{'s' * (len(bases) > 1)} {', '.join(bases)}" if bases else ""
        )
        updated = target.settings.get(attribute)
        if updated:
            fault = f"is only updated (line {updated[0].line}), and {whole} never gives it a first value"
        else:
            verb = "called" if first.is_call else "read"
            nothing = "defines or sets" if first.is_call else "sets"
            fault = f"is {verb} in {place}, but nothing {nothing} it on {whole}"
        may = "will raise" if not doubt else "may raise"
        lines = sorted({r.line for r in reads[1:]} - {first.line})
        also = f" It is also read at {listed(lines)}." if lines else ""
        unsure = f" Not certain: {doubt}." if doubt else ""
        advice = self._advice(owner, target, lineage, attribute, first, prefix)
        return Problem(
            kind="attribute_error",
            path=self.source.path,
            line=first.line,
            severity="warning" if doubt else "error",
            message=f"{self.source.path}:{first.line}: {shown} {fault}: this line {may} AttributeError."
            f"{also}{unsure} {advice}",
        )

    def _self_name(self, read: Read) -> str:
        arguments = read.method.node.args
        return [*arguments.posonlyargs, *arguments.args][0].arg

    def _advice(
        self, owner: Class, target: Class, lineage: Lineage, attribute: str, read: Read, prefix: str
    ) -> str:
        """What to change, from the likeliest slip to the least."""
        held = "" if read.through else self._on_a_held_object(owner, attribute)
        if held:
            return held
        if attribute in target.settings:
            return f"Set `{prefix}.{attribute} = ...` in {target.name}.__init__ first."
        alike = _closest(attribute, lineage)
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
                    f"but {owner.name} does not inherit from it. Set it in {target.name}.__init__."
                )
        return f"Set it in {target.name}.__init__, or correct the name."

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
                if self._created(settings[0], base) is other:
                    return f"{heir.name} holds", holder
        common = self.program.lineage(owner).names
        own = {name for c in self.program.lineage(other).classes for name in c.settings} - common
        for heir, base in bases:
            for read in base.reads:
                if read.through and read.attribute in own:
                    return f"{heir.name} seems to hold", read.through
        return None


def _elsewhere(attribute: str, source: Source) -> bool:
    """Say whether a file sets the attribute on some object, or allows for its absence."""
    return attribute in source.stored or attribute in source.guarded or attribute in source.asked


def _grouped(owner: Class, held: bool) -> dict[tuple[str, str], list[Read]]:
    """The reads of a class by (through, attribute), in line order: of `self`, or of what it holds."""
    found: dict[tuple[str, str], list[Read]] = {}
    for read in sorted(owner.reads, key=lambda r: r.line):
        usable = not (read.method.rebound or read.method.replaced)
        if usable and bool(read.through) == held:
            found.setdefault((read.through, read.attribute), []).append(read)
    return found


def _closest(attribute: str, lineage: Lineage) -> str:
    """The likeliest name for which this one is a slip ("" where none is near)."""
    read = {r.attribute for c in lineage.classes for r in c.reads}
    near = difflib.get_close_matches(attribute, sorted(lineage.all_names()), 5, _ALIKE)

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
