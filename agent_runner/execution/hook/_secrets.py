"""What may be a secret: by the name under which it is held, or by its own form. The exception hook loads it.

Too much is hidden rather than too little, except the words of machine learning: `token` names an id far more
often than a password, so numbers under that name are told.
"""

from __future__ import annotations

import re

HIDDEN = "<not recorded: it may be a secret>"

_SEARCHED = 10_000  # characters of a text

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-\s]+")
_NAME = re.compile(
    r"passw|passphrase|passcode|secret|credential|cookie|bearer|authoriz|"
    r"(?:api|access|private|secret|account|encryption|signing|ssh|license)_?key|"
    r"(?:^|_)(?:auth|creds?)(?:_|$)"
)
_NAME_OF_TEXT = re.compile(
    r"(?:^|_)(?:token|pat|pwd|pass|pw|jwt|dsn|sid|session_?id|signature|private)_?$"
)
_SPECIAL_TOKEN = re.compile(r"[<\[].{0,30}[>\]]$")
_NAME_OF_KEY = re.compile(r"_key$")
_LIKE_A_KEY = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[^\s./]{8,}$")

_FORM = re.compile(
    r"\b(?:hf_|sk-|ghp_|gho_|ghs_|github_pat_|glpat-|xox[abp]-|AKIA|AIza|wandb_v1_|eyJ)[\w\-.]{8,}|"
    r"\b(?:Bearer|Basic) [\w\-.~+/=]{6,}|-----BEGIN.*|\b[0-9a-fA-F]{32,}\b|(?<=://)(?:(?!://)[^\s@]){1,300}(?=@)|"
    # 40 characters of base64: the form of a cloud's key.
    r"(?<![\w/+])(?=[A-Za-z\d/+]{40}(?![\w/+.-]))(?=\S{0,39}[a-z])(?=\S{0,39}[A-Z])(?=\S{0,39}\d)\S{40}|"
    # A run of mixed case with digits strewn in is a random one.
    r"(?<!\w)(?=[A-Z\d]*[a-z])(?=[a-z\d]*[A-Z])(?=(?:[A-Za-z]*\d+(?=[A-Za-z])){2}[A-Za-z]+\d)[A-Za-z\d]{20,}(?!\w)",
    re.DOTALL,
)
_ASSIGNING = (
    r"(?i:passw\w{{0,20}}|passphrase|pwd|(?<![a-z])pass|secret\w{{0,20}}|"
    r"(?:api|access|private|secret|license|encryption|signing|ssh)[_ -]?key|signature|authorization|"
    r"(?:access|auth|api|bearer|refresh|session|hf|hub|github|gitlab|wandb|id)[_ -]?token{token})"
)
_VALUE = r"[^\s\"'&,;<]{4,}"
_IN_TEXT = re.compile(
    rf"(?P<name>{_ASSIGNING.format(token='')}[\"']?\s*[=:]\s*[\"']?|"
    rf"(?i:\btoken)=[\"']?|(?i:\bpassword) ){_VALUE}"
)
_IN_CODE = re.compile(
    rf"(?P<name>{_ASSIGNING.format(token='|token')}[\"']?\]?\s*[=:,]\s*[rbfu]?)"
    r"(?:\"[^\"]*\"|'[^']*'|[\"'].*)"
)
_LITERAL = re.compile(r"\"[^\"]*\"|'[^']*'|[\"'].*")


def is_secret(name: str) -> bool:
    """Whether a name speaks of a secret, so that nothing held under it is to be told."""
    return any(_NAME.search(_in_words(part)) for part in name.split("."))


def is_secret_text(name: str, text: str) -> bool:
    """Whether a text may be a secret or hold one, also where a number of that name would be none."""
    parts = [_in_words(part) for part in name.split(".")]
    if any(_NAME.search(part) for part in parts):
        return True
    if any(_NAME_OF_TEXT.search(part) for part in parts) and not _SPECIAL_TOKEN.match(text):
        return True
    if _NAME_OF_KEY.search(parts[-1]) and _LIKE_A_KEY.match(text[:_SEARCHED]):
        return True
    head = text[:_SEARCHED]
    return bool(_FORM.search(head) or _IN_TEXT.search(head))


def names_secret(text: str) -> bool:
    """Whether a text is the name of what stands next to it: `--api-key`, or the first of a pair."""
    name = text.lstrip("-")
    named = is_secret(name) or bool(_NAME_OF_TEXT.search(_in_words(name)))
    return len(text) < 50 and named


def in_message(text: str) -> str:
    """A message without what may be a secret in it."""
    return _IN_TEXT.sub(rf"\g<name>{HIDDEN}", _FORM.sub(HIDDEN, text))


def in_code(line: str) -> str:
    """A line of code without the literals that may be secrets."""
    literals = _LITERAL.sub(lambda found: in_message(found.group()), line)
    return _IN_CODE.sub(rf'\g<name>"{HIDDEN}"', literals)


def _in_words(name: str) -> str:
    return _WORDS.sub("_", name[:200]).lower()
