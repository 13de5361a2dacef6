"""Output of a program made readable and bounded: progress bars, terminal codes, control characters.

Everything here is linear in the length of its input. The raw log stays as it is on disk; these are
views of it for a reader, a parser or an agent's next turn.
"""

from __future__ import annotations

import re

MESSAGE_LIMIT = 1200
"""Characters of a message that an agent is shown; beyond it the middle is left out."""

_ANSI = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # OSC: window titles, hyperlinks
    r"|[PX^_][^\x1b\n]*\x1b\\"  # DCS, SOS, PM, APC strings
    r"|[ -/]?[0-~]"  # two- and three-character escapes
    r")"
)

# C0 and C1 controls, then what no terminal shows but a language model reads: zero-width and
# direction marks, line separators, tag characters. Lone surrogates cannot be written as UTF-8.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)

HIDDEN = "<hidden: it may be a secret>"

_TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,200}|sk-[\w-]{16,200}|gh[pousr]_[A-Za-z0-9]{20,200}"
    r"|github_pat_\w{20,200}|glpat-[\w-]{16,200}|xox[abp]-[\w-]{10,200}|AKIA[A-Z0-9]{16}"
    r"|AIza[\w-]{30,200})|(?<=Bearer )[\w.~+/-]{16,500}"
    r"|(?<=://)[^/\s:@'\"]{1,100}:[^/\s@'\"]{1,200}(?=@)"
)
# With a digit in it: `password = read_password()` is code.
_PASSWORD = re.compile(
    r"(?i)((?:passw(?:or)?d|passphrase|api_?key|access_?key|secret_?key)['\"]?\s{0,2}[=:]\s{0,2}['\"]?)"
    r"(?=[^\s'\",;(){}<>]{0,100}\d)[^\s'\",;(){}<>]{6,200}"
)

_BAR = re.compile(r"^(?P<label>.{0,200}?)\s{0,20}\d{1,3}%\|")


def clean_output(text: str) -> str:
    """Return `text` as a reader would want to see it.

    Carriage-return progress bars are collapsed to their last state, ANSI codes are removed, other
    control and invisible characters are escaped (`\\x07`). Line ends are `\\n`. Cleaning twice
    gives the same as cleaning once.
    """
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\b", "")
    lines = [_last_state(line) for line in text.split("\n")]
    escaped = _UNPRINTABLE.sub(_escape, "\n".join(lines))
    return "\n".join(_collapse_bars(escaped.split("\n")))


def printable(text: str) -> str:
    """Return `text` with control and invisible characters escaped; line ends and tabs stay."""
    return _UNPRINTABLE.sub(_escape, text)


def shorten(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return `text`, or its head and tail with the count of characters left out between them.

    Two thirds of the room go to the head: the cause usually stands first. The result may be longer
    than `limit` by the note itself (under 60 characters).
    """
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    left_out = len(text) - limit
    return f"{text[:head]} [... {left_out:,} characters left out ...] {text[-tail:]}"


def without_secrets(text: str) -> str:
    """Return `text` with a note in place of what looks like an access token, a key or a password.

    Tokens are known by their issuers' prefixes, passwords by the name they are given right behind.
    """
    text = _TOKEN.sub(HIDDEN, text)
    return _PASSWORD.sub(lambda found: f"{found[1]}{HIDDEN}", text)


def last_lines(text: str, count: int, width: int = 300) -> tuple[str, ...]:
    """Return the last `count` lines of cleaned `text` that hold anything, each at most `width` wide."""
    found: list[str] = []
    for line in reversed(text.split("\n")):
        if line.strip():
            found.append(shorten(line.rstrip(), width))
        if len(found) == count:
            break
    return tuple(reversed(found))


def is_bar(line: str) -> bool:
    """Say whether a line is one state of a progress bar (`Loading: 33%|...`)."""
    return "%|" in line and _BAR.match(line) is not None


def bar_label(line: str) -> str:
    """Return what a progress bar says it is doing, or an empty string."""
    found = _BAR.match(line) if "%|" in line else None
    return found["label"].rstrip(": ") if found else ""


def bounded(text: str, head: int = 256_000, tail: int = 1_000_000) -> str:
    """Return the head and tail of a stream too large to parse whole: the end decides, the start helps."""
    if len(text) <= head + tail:
        return text
    return (
        f"{text[:head]}\n[... {len(text) - head - tail:,} characters left out ...]\n{text[-tail:]}"
    )


def _last_state(line: str) -> str:
    """Return what stays visible of a line that was written over with carriage returns."""
    if "\r" not in line:
        return line
    states = [state for state in line.split("\r") if state.strip()]
    return states[-1] if states else ""


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _collapse_bars(lines: list[str]) -> list[str]:
    """Keep only the last of successive states of one bar, also where each was printed on its own line."""
    kept: list[str] = []
    last_bar: int | None = None  # where in `kept` the bar stands that blank lines only may follow
    for line in lines:
        if is_bar(line):
            if last_bar is not None and bar_label(kept[last_bar]) == bar_label(line):
                del kept[last_bar:]
            last_bar = len(kept)
        elif line.strip():
            last_bar = None
        kept.append(line)
    return kept
