"""How surely a comment stands for code that it leaves out, by its words and its dots."""

from __future__ import annotations

import re
from enum import IntEnum
from functools import cached_property


class Grade(IntEnum):
    """How surely a comment stands for code that is left out."""

    HEADING = 1  # unless new code follows it, or nothing is gone
    ALONE = 2  # where a line holds nothing else
    ALWAYS = 3  # behind code too


_REST = r"(?:rest|remainder)"
_OLD = r"(?:existing|previous|remaining|original|other|old|current|rest)"
_CODE = r"(?:code|implementation|logic|body)"
_UNIT = (
    rf"(?:{_CODE}|file|script|module|program|class|classes|functions?|methods?|loop|block|section|pipeline|"
    r"definitions?|imports|lines|contents?|helpers?|setup|stuff)"
)
_THING = rf"(?:{_UNIT}|parameters|params|arguments|args|layers|training|steps|attributes|fields|options|config)"
_STATE = (
    r"unchanged|unmodified|untouched|unaltered|unaffected|intact|identical|same|preserved|omitted|skipped|elided|"
    r"snipped|truncated|abbreviated|collapsed|hidden|shown|changes?|changed|modified|altered|touched|edited|"
    r"brevity|before|previously|originally"
)
_LINK = (
    r"remains?|remain|stays?|kept|keeps?|left|out|goes|go|continues?|follows?|as|from|in|to|for|see|with|not|no|"
    r"does|doesn't|do|don't|did|didn't|has|hasn't|have|haven't|isn't|aren't|been|above|below|here|original|"
    r"existing|version|code|file|it|they|clarity|space|needed|required|necessary|made|alone|point|on|after|under"
)
_ANY = rf"(?: (?:{_STATE}|{_LINK})\b)+"
_SAID = rf"(?=.* (?:{_STATE})\b){_ANY}"  # says in what state something is
_PLACED = rf"(?=.* (?:{_STATE}|here|below|above|follows?|continues?|goes)\b){_ANY}"
_UP_TO_3 = r"(?:[\w']+ ){0,3}"
_PUT = (
    r"(?:keep|leave|insert|add|put|paste|copy|continue with|use|include|retain|with|unchanged|same|here|begin|"
    r"end|no changes? (?:to|in))"
)
_GONE = r"(?:omitted|skipped|elided|snip|snipped|truncated|abbreviated|shortened|hidden|left out|not shown)"
_WHY = r"for (?:brevity|clarity|space|conciseness|readability|simplicity)"

# Matched in this order against a comment's words: lower case, without signs and without _FILLERS.
_WORDINGS: list[tuple[Grade, re.Pattern[str]]] = [
    (grade, re.compile(wording))
    for grade, wording in [
        (Grade.ALWAYS, rf"(?:{_PUT} )?{_REST} of {_UP_TO_3}{_UNIT}(?:{_PLACED})?"),
        (Grade.ALWAYS, rf"{_REST}{_SAID}"),
        (Grade.ALWAYS, rf"(?:everything|code) (?:else|below|after|above|following)(?: \w+)?{_SAID}"),
        (Grade.ALWAYS, rf"(?:everything )?else{_SAID}|everything{_SAID}"),
        (Grade.ALWAYS, rf"{_OLD} {_UP_TO_3}{_CODE}{_SAID}"),
        (Grade.ALWAYS, r"nothing (?:else|more) (?:changes|changed|to change|modified|here)"),
        (Grade.ALWAYS, r"no (?:other|further|more|additional) (?:changes|modifications|edits)(?: \w+){0,3}"),
        (Grade.ALWAYS, r"no (?:changes|modifications) (?:below|after|beyond|from|past)(?: \w+){0,3}"),
        (Grade.ALWAYS, rf"(?:{_UP_TO_3}{_THING} )?{_GONE} {_WHY}"),
        (Grade.ALWAYS, rf"lines? \d+(?: (?:to|through|until))?(?: \d+)?{_SAID}"),
        (Grade.ALWAYS, rf"\d+ (?:more |other )?(?:lines|functions|methods){_SAID}"),
        (Grade.ALONE, rf"(?:existing|remaining) {_CODE}(?:{_ANY})?"),
        (Grade.ALONE, rf"{_OLD} {_UP_TO_3}{_UNIT}{_SAID}"),
        (Grade.ALONE, rf"{_PUT} (?:existing|remaining|original|previous) {_UP_TO_3}{_CODE}(?:{_ANY})?"),
        (Grade.ALONE, r"(?:same|identical|unchanged|unmodified|copied)(?: code)? (?:as|to|from|in|with)"
                       r"(?: in| from)? (?:here|original|existing)(?: (?:code|file|version|script|on|below))*"),
        (Grade.ALONE, r"as (?:in|from) original(?: (?:code|file|version|script))?"),
        (Grade.ALONE, r"(?:unchanged|same|unmodified|omitted|skipped|elided) code(?: here| below| above)?"),
        (Grade.ALONE, rf"code (?:here|goes here|continues?(?: here| below)?|{_GONE})"),
        (Grade.ALONE, rf"{_CODE}{_SAID}|snip"),
        (Grade.ALONE, r"(?:some |lots of )?more code(?: here| below| follows)?"),
        (Grade.HEADING, rf"(?:{_PUT} )?{_REST} of {_UP_TO_3}(?:{_THING}(?:{_ANY})?|[\w']+{_PLACED})"),
        (Grade.HEADING, rf"(?:{_PUT} )?(?:{_OLD}|same) {_UP_TO_3}{_THING}(?:{_ANY})?"),
        (Grade.HEADING, rf"(?:\w+ )?{_THING}{_PLACED}"),
        (Grade.HEADING, r"\d+ (?:more |other )?lines(?: of code)?"),
        (Grade.HEADING, rf"(?:same|unchanged|identical|omitted|skipped|no changes?|as before)(?:{_ANY})?"),
    ]
]  # fmt: skip

_FILLERS = re.compile(
    r"the|a|an|all|your|my|our|this|that|these|its|is|are|be|was|were|exactly|completely|entirely|still|just|simply|"
    r"note|nb|todo|fixme|please|and|then|so|also"
)

# Behind leading dots, one of these words is enough.
_ELSEWHERE = re.compile(
    r"\b(?:rest|remaining|remainder|existing|previous|original|same|unchanged|omitted|skipped|other|before|above|"
    r"code|here|continues|unmodified)\b"
)
_FEW, _SOME = 8, 14  # words

LEADS = frozenset("#/*<[({-%;.…⋯")  # what a line of nothing but a comment or dots begins with
HINT = re.compile(
    r"\.\.|…|⋯|\. \.|rest|remain|exist|previous|other|unchanged|unmodif|identical|same|omit|skip|elide|snip|"
    r"trunc|abbrev|brevity|original|change|else|everything|code|here|below|above|before|as[ -]is|lines?\b",
    re.IGNORECASE,
)
MARK = re.compile(r"#+|//+|\{?/\*+|--+|<!--+|\{#|\(\*|;+|%+")
_AS_IS = re.compile(r"\bas[ -]is\b|\bas (?:it|they) (?:is|are|was|were)\b|\bas-was\b")
_CALL = re.compile(r"`[^`]*`|\b\w[\w.]*\([^()]*\)")
_FILE_NAME = re.compile(
    r"\b[\w/-]+\.(?:pyi?|ipynb|[jt]sx?|md|txt|json|ya?ml|toml|cc?|cpp|h|rs|go|java|sh)\b"
)
_SPACED_DOTS = re.compile(r"\.(?: \.){2,}")
_LOOKS_LIKE_CODE = re.compile(r"\w ?={1,2} ?\w|\w\[|\w\.\w|\w\(\w")
_TOKEN = re.compile(r"\.+|[…⋯]+|[\w']+")
_DOTS = re.compile(r"\.{3,6}|[…⋯]+")  # a longer row of dots is a ruler
# Dots beside these are a drawing, a pattern or a quotation.
_NO_REMARK = re.compile(r"[\"?$|^@]|\.=|=\.")
_LIST = re.compile(r",\s*(?:\.{3,}|…)\W*$")
_CLOSERS = {"(": ")", "[": "]", "{": "}", "<": ">"}


class Remark:
    """The words of a comment, and the dots at its ends."""

    def __init__(self, text: str) -> None:
        mark = MARK.match(text)
        self.marked = mark is not None
        body = text[mark.end() if mark else 0 :].lower().replace("’", "'")
        body = _CALL.sub(" function ", _FILE_NAME.sub(" file ", _AS_IS.sub("unchanged", body)))
        body = _SPACED_DOTS.sub(lambda dots: dots[0].replace(" ", ""), body)
        tokens = [] if _LOOKS_LIKE_CODE.search(body) else _TOKEN.findall(body)
        words = [token for token in tokens if token[0] not in ".…⋯"]
        ends = [tokens[0], tokens[-1]] if tokens and not _NO_REMARK.search(body) else ["", ""]
        self.count = len(words)
        self.leads = _DOTS.fullmatch(ends[0]) is not None
        self.trails = _DOTS.fullmatch(ends[1]) is not None and not _LIST.search(body)
        self.between = bool(words) and ((self.leads and self.trails) or ends == ["..", ".."])
        self.only_dots = self.leads and not words
        self.phrase = " ".join(word for word in words if not _FILLERS.fullmatch(word))

    @cached_property
    def wording(self) -> Grade | None:
        """How surely it stands for code by its words alone."""
        return next((grade for grade, said in _WORDINGS if said.fullmatch(self.phrase)), None)

    @cached_property
    def grade(self) -> Grade | None:
        """How surely it stands for code, by its words and dots; None where it says something else."""
        if self.only_dots:
            return Grade.ALONE
        if self.between and self.count <= _FEW:
            return Grade.ALWAYS
        if not (self.leads or self.trails) or not self.count:
            return self.wording
        if self.wording is not None:
            return max(self.wording, Grade.ALONE)
        if self.leads and self.count <= _SOME and _ELSEWHERE.search(self.phrase):
            return Grade.ALONE
        return Grade.HEADING if self.count <= _FEW else None

    def is_remark(self, text: str, *, prose: bool) -> bool:
        """Whether it can be a comment although no sign of one stands before it."""
        if self.leads:
            if self.wording is None and (prose or not self.trails):
                return False
            return " " in self.phrase or text[-1] in ".…⋯"  # `...rest,` is JavaScript
        if prose or self.wording is None:
            return False
        if text[0] in _CLOSERS:
            return (
                self.wording > Grade.HEADING and text[-1] == _CLOSERS[text[0]] and "," not in text
            )
        return self.wording is Grade.ALWAYS
