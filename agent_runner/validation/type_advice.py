"""ty's findings in an edited file, as advice: what a type checker believes will fail at run time.

Never a reason to refuse: a type checker cannot know what `setattr`, `register_buffer` or a library without
types does. So only rules that speak of plain faults are asked, and only what the edit has brought in is told.
Left out after measuring on the template, the recorded edits, sae_bench and transformer_lens: `not-callable`,
`unsupported-operator`, `invalid-assignment` and `not-subscriptable` (every buffer of an nn.Module is "Tensor |
Module", every attribute that begins as None is None for ever), `no-matching-overload` and most of
`invalid-argument-type` (annotations that are narrower than the code).
"""

from __future__ import annotations

import re
from pathlib import Path

from agent_runner.records import Problem
from agent_runner.validation import linters
from agent_runner.validation.attributes import Judged
from agent_runner.validation.linters import Finding, lines_of
from agent_runner.validation.syntax import shortened

RULES = (
    "import-not-found",
    "missing-module-member",
    "missing-attribute",
    "missing-argument",
    "unknown-argument",
    "too-many-positional-arguments",
    "parameter-already-assigned",
    "positional-only-parameter-as-kwarg",
    "invalid-argument-type",
    "possibly-unresolved-reference",
)
_MOST = 5
_REMEDIES = {
    "import-not-found": "The experiment's Python has no such module, and nothing is installed for a run: "
    "use one that it has.",
    "missing-argument": "Give it at the call, or give the parameter a default.",
    "unknown-argument": "Take it out of the call, or add the parameter.",
    "too-many-positional-arguments": "Take the surplus out of the call, or add the parameters.",
    "possibly-unresolved-reference": "Give it a value on every path that leads here.",
}
_MISSING = re.compile(r"(?:Object of type `(?P<type>.+)`|.*) has no attribute `(?P<name>\w+)`$")
_NOTHING = Judged()
_SET = "Unresolved attribute"  # of an assignment, which gives the object the attribute
_CONDITIONAL = re.compile(r"\s*(?:if|elif|else|match|case|while)\b")
_LATER = re.compile(r"\s*(?:for|async for|while|except)\b")
# Said of objects whose attributes no type checker can know.
_VAGUE = re.compile(
    r"^Object of type `(?:object|Module|Unknown|.*\bUnknown\b.*|.* \| .*)` has no attribute"
)
_TEXT_FOR_SOMETHING_ELSE = re.compile(r"Expected `(?:int|float|bool|Tensor)`, found `Literal\[\"")
_OPTIONAL = re.compile(r"\s*(?:try\s*:|if\b.*\bTYPE_CHECKING\b)")


def type_advice(
    root: Path,
    name: str,
    text: str,
    before: str | None,
    interpreter: Path,
    judged: Judged = _NOTHING,
) -> list[Problem]:
    """At most five warnings (`type_advice`) on faults that the edit has brought into one file.

    `root` is the worktree, which is only read, for the modules that the file imports; third-party packages
    are those of `interpreter`. `before` is the file's text in the template: what ty finds there too (same
    rule, message and line of code) is not the edit's. Both texts are asked about in one process, as nearly
    all of its time is spent on the libraries that both import. Empty where ty is missing, or too slow.
    What it says of classes that are `judged` by a check of our own is left to that.
    """
    files = {f"after/{name}": text}
    if before is not None:
        files[f"before/{name}"] = before
    answer = linters.ty(files, RULES, interpreter=interpreter, imports_from=root)
    now, then = lines_of(text), lines_of(before or "")
    old = {_key(f, then) for f in answer.findings if f.file.startswith("before/")}
    fresh = {
        _key(f, now): f
        for f in reversed(answer.findings)  # of several that read the same, the first is told
        if f.file.startswith("after/") and _key(f, now) not in old and _is_telling(f, now, judged)
    }
    found = sorted(fresh.values(), key=lambda f: f.line)
    return [_problem(name, now, finding) for finding in found[:_MOST]]


def _key(finding: Finding, lines: list[str]) -> tuple[str, str, str]:
    return finding.rule, finding.message, _code(finding, lines)


def _code(finding: Finding, lines: list[str]) -> str:
    return lines[finding.line - 1].strip() if finding.line <= len(lines) else ""


def _problem(name: str, lines: list[str], finding: Finding) -> Problem:
    code = _code(finding, lines)
    code = shortened(code)
    remedy = _REMEDIES.get(finding.rule, "")
    message = f"{name}:{finding.line}: a type checker finds: {finding.message}: `{code}`. {remedy}"
    return Problem(
        kind="type_advice",
        message=message.strip(),
        path=name,
        line=finding.line,
        severity="warning",
    )


def _is_telling(finding: Finding, lines: list[str], judged: Judged) -> bool:
    if finding.rule == "missing-attribute":
        return not _VAGUE.match(finding.message) and _is_never_set(finding, lines, judged)
    if finding.rule == "possibly-unresolved-reference":
        return not _depends_on_more(finding, lines)
    if finding.rule == "invalid-argument-type":
        return bool(_TEXT_FOR_SOMETHING_ELSE.search(finding.message))
    if finding.rule in ("import-not-found", "missing-module-member"):
        # The neighbours of a relative import are not where ty looks.
        is_relative = _code(finding, lines).startswith("from .")
        return not is_relative and not _is_optional_import(lines, finding.line)
    return True


def _is_never_set(finding: Finding, lines: list[str], judged: Judged) -> bool:
    """Whether nothing in the file sets an attribute that ty misses, on whatever object, or quotes it."""
    missing = _MISSING.match(finding.message)
    if finding.message.startswith(_SET):
        return False
    if missing is None:
        return True
    kind = missing["type"] or ""
    if kind in judged.open_classes:
        return False
    if kind.startswith("Self@") and any(finding.line in own for own in judged.lines):
        return False
    word = re.escape(missing["name"])
    stored = re.compile(
        rf"\.{word}\s*(?:=(?!=)|[-+*/|&]=|:[^=]+=)|\bfor\b.*\.{word}\s+in\b|\bdef\s+{word}\b|[\"']{word}[\"']"
    )
    return not any(stored.search(line) for line in lines)


def _depends_on_more(finding: Finding, lines: list[str]) -> bool:
    """Whether a name that may have no value is read under a condition, or set in a loop or a handler.

    Then the program may well be right: `if use_amp: amp.scale(loss)`, `for step in ...: best = loss`.
    """
    if any(_CONDITIONAL.match(header) for header in _headers(lines, finding.line)):
        return True
    name = finding.message.partition("`")[2].partition("`")[0]
    word = re.compile(rf"\b{re.escape(name)}\b")
    if any("global " in line and word.search(line) for line in lines):
        return True
    earlier = [n for n, line in enumerate(lines[: finding.line - 1], 1) if word.search(line)]
    return any(_LATER.match(header) for n in earlier for header in _headers(lines, n))


def _is_optional_import(lines: list[str], number: int) -> bool:
    """Whether an import may fail, since it stands in a `try` or is only for a type checker."""
    return any(_OPTIONAL.match(header) for header in _headers(lines, number))


def _headers(lines: list[str], number: int) -> list[str]:
    """The lines that open the blocks around it, innermost first.

    Read from the indentation, which is enough for advice.
    """
    depth = _depth(lines[number - 1]) if number <= len(lines) else 0
    found = []
    for line in reversed(lines[: number - 1]):
        if line.strip() and not line.strip().startswith("#") and _depth(line) < depth:
            depth = _depth(line)
            found.append(line)
    return found


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
