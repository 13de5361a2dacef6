"""What the variables of a frame were when it failed, each in a few words. The exception hook loads it then.

Runs no code of the program: no `repr`, no property, no `__getattr__`, since a failed program's own code may
hang or fail again. Attributes are looked up in instance dictionaries. Never an element of a tensor on a GPU:
after a failed kernel every such read raises or hangs, while shape, dtype and device are known to the host.
Values of names that speak of secrets are left out, and so are strings that look like one.

For any Python from 3.8 on; imports no library, and uses torch and numpy only where the program has.
"""

from __future__ import annotations

import re
import sys
from itertools import islice
from time import monotonic

TYPE_CHECKING = False  # as in typing, which is slow to import
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

MAX_NAMES = 16
_MAX_TEXT = 80
_MAX_SUMMARY = 200
_MAX_ITEMS = 4
_MAX_DEPTH = 2
_MAX_ELEMENTS = 10_000_000  # of a tensor that is read in whole, 10 ms or so
_MAX_SECONDS = 0.5  # for all readings of one failure

_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_STRING = re.compile(r"\"[^\"]*\"|'[^']*'|#.*")
_SECRET_NAME = re.compile(
    r"(?i)passw(?:or)?d|secret|credential|api_?key|access_?key|private_?key|auth(?:_|$)|bearer|(?:^|_)(?:token|pat|pwd)$"
)
_SECRET_VALUE = re.compile(
    r"\b(?:hf_|sk-|ghp_|gho_|github_pat_|glpat-|xox[abp]-|AKIA|AIza|wandb_v1_|Bearer )[\w\-]{8,}|-----BEGIN|"
    r"\b[0-9a-fA-F]{40}\b|://[^/\s:@]*:[^/\s@]+@"
)
_PLAIN = (bool, int, float, complex, type(None), type(...))
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("{", "}"),
}
_NOT_TOLD = ("module", "function", "builtin_function_or_method", "type", "method", "ABCMeta")
_READ = frozenset(
    ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64")
)
HIDDEN = "<not recorded: it may be a secret>"


class Summary:
    """Summaries of the frames of one failure. `read_values`: whether tensors in host memory are read at all."""

    def __init__(self, read_values: bool) -> None:
        self._read_values = read_values
        self._deadline = monotonic() + _MAX_SECONDS

    def of(self, frame: FrameType, code: str | None) -> dict[str, str]:
        """{name: summary}: first what the failing line mentions (`self.W_dec` too), then the other locals."""
        known = frame.f_locals
        found: dict[str, str] = {}
        for path in _PATH.findall(_STRING.sub("", code or "")):
            self._add(found, path, known)
        inside_function = known is not frame.f_globals
        for name, value in list(known.items()):
            if len(found) >= MAX_NAMES:
                break
            told = type(value).__name__ not in _NOT_TOLD and not name.startswith("__")
            if name not in found and name.isidentifier() and told and inside_function:
                found[name] = self.summary(value, name)
        return found

    def _add(self, found: dict[str, str], path: str, known: dict[str, Any]) -> None:
        """Summarise `a`, `a.b` and so on, as far as each is there."""
        names = path.split(".")
        if len(found) >= MAX_NAMES or names[0] not in known:
            return
        value: Any = known[names[0]]
        for depth, name in enumerate(names, start=1):
            if depth > 1:
                held = _attribute(value, name)
                if held is None:
                    return
                value = held[0]
            key = ".".join(names[:depth])
            if key not in found and type(value).__name__ not in _NOT_TOLD:
                found[key] = self.summary(value, name)

    def summary(self, value: Any, name: str = "", depth: int = 0) -> str:
        """A value in a few words, at most 200 characters."""
        try:
            text = self._summary(value, name, depth)
        except Exception:  # whatever a strange class does, the other variables are still told
            text = _type_name(value)
        return text if len(text) <= _MAX_SUMMARY else text[: _MAX_SUMMARY - 3] + "..."

    def _summary(self, value: Any, name: str, depth: int) -> str:
        kind = type(value)
        if kind in (str, bytes):
            return _text(value, name)
        if _SECRET_NAME.search(name) and kind in (int, list, tuple, dict, set):
            return HIDDEN
        if kind in _PLAIN:
            return f"an int of {value.bit_length()} bits" if _is_huge(value) else str(value)
        if kind in _BRACKETS:
            return self._sequence(value, name, depth)
        if kind is dict:
            return self._mapping(value, depth)
        array = self._tensor(value) or self._array(value)
        if array:
            return array
        return self._object(value, depth)

    def _sequence(self, value: Any, name: str, depth: int) -> str:
        kind = type(value)
        head = f"{kind.__name__} of {len(value)}"
        if depth >= _MAX_DEPTH or not value:
            return head
        items = [self.summary(item, name, depth + 1) for item in islice(value, _MAX_ITEMS)]
        more = ", ..." if len(value) > len(items) else ""
        left, right = _BRACKETS[kind]
        return f"{head}: {left}{', '.join(items)}{more}{right}"

    def _mapping(self, value: dict[Any, Any], depth: int) -> str:
        head = f"dict of {len(value)}"
        if depth >= _MAX_DEPTH or not value:
            return head
        return f"{head}: {{{self._fields(value, depth)}}}"

    def _fields(self, fields: dict[Any, Any], depth: int) -> str:
        shown = []
        for key, value in islice(list(fields.items()), _MAX_ITEMS):
            name = key[:_MAX_TEXT] if type(key) is str else ""
            shown.append(
                f"{self.summary(key, '', depth + 1)}: {self.summary(value, name, depth + 1)}"
            )
        return ", ".join(shown) + (", ..." if len(fields) > len(shown) else "")

    def _object(self, value: Any, depth: int) -> str:
        name = _type_name(value)
        if name == "Namespace" and depth < _MAX_DEPTH:  # the experiment's arguments
            return f"Namespace({self._fields(vars(value), depth)})"
        if name in ("PosixPath", "WindowsPath"):
            return f"{name} {_text(str(value), '')}"
        if name in ("range", "slice"):
            return str(value)
        if type(value).__module__.startswith("pandas.") and hasattr(value, "shape"):
            return f"{name} {tuple(value.shape)}"
        return name

    # ---------------------------------------------------------------- tensors

    def _tensor(self, value: Any) -> str:
        """`Tensor (32, 128) float32 on cpu, from -1.2 to 3.4`; empty for what is no tensor."""
        torch = sys.modules.get("torch")
        if torch is None or not issubclass(type(value), torch.Tensor):
            return ""
        with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
            parts = [
                f"{_type_name(value)} {tuple(value.shape)} {str(value.dtype)[6:]} on {value.device}"
            ]
            if value.requires_grad:
                parts.append("requires grad")
            readable = str(value.device) == "cpu" and value.layout is torch.strided
            if readable and str(value.dtype)[6:] in _READ and self._may_read(value.numel()):
                # Needs no memory beside the tensor's, and a NaN anywhere makes both of them NaN.
                least, greatest = value.detach().aminmax()
                parts += _extent(least.item(), greatest.item())
        return ", ".join(parts)

    def _array(self, value: Any) -> str:
        """The same of a numpy array or number."""
        numpy = sys.modules.get("numpy")
        if numpy is None or not issubclass(type(value), (numpy.ndarray, numpy.generic)):
            return ""
        parts = [f"{_type_name(value)} {tuple(value.shape)} {value.dtype}"]
        if str(value.dtype) in _READ and self._may_read(value.size):
            parts += _extent(value.min().item(), value.max().item())
        return ", ".join(parts)

    def _may_read(self, elements: int) -> bool:
        return self._read_values and 0 < elements <= _MAX_ELEMENTS and monotonic() < self._deadline


def _extent(least: float, greatest: float) -> list[str]:
    if least != least or greatest != greatest:
        return ["has NaN"]
    infinite = float("inf") in (-least, greatest)
    words = f"{least:.4g}" if least == greatest else f"from {least:.4g} to {greatest:.4g}"
    return [("has infinity, " if infinite else "") + words]


def _attribute(value: Any, name: str) -> tuple[Any] | None:
    """An attribute that an instance holds itself, or that a torch module does; in a tuple, or None."""
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    if type(own) is not dict:
        return None
    for held in (own, *(own.get(kind) for kind in ("_parameters", "_buffers", "_modules"))):
        if isinstance(held, dict) and name in held:
            return (held[name],)
    return None


def _text(value: str | bytes, name: str) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value[:10_000]):
        return HIDDEN
    if len(value) <= _MAX_TEXT:
        return repr(value)
    return f"{value[:_MAX_TEXT]!r}... ({len(value)} characters)"


def _type_name(value: Any) -> str:
    return str(type.__getattribute__(type(value), "__qualname__")).replace("<locals>.", "")


def _is_huge(value: Any) -> bool:
    return type(value) is int and value.bit_length() > 256
