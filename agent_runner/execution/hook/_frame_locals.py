"""What the variables of a frame were when it failed, each in a few words. The exception hook loads it then.

Runs no code of the program: no `repr`, no property, no `__getattr__`, since a failed program's own code may
hang or fail again. Attributes are read by the descriptors of the built-in types themselves. Never an element
of a tensor on a GPU: after a failed kernel every such read raises or hangs, while shape, dtype and device are
known to the host. Nor one that lies in a mapped file: where that file has shrunk, reading is a SIGBUS.

For any Python from 3.8 on; imports no library, and uses torch and numpy only where the program has.
"""

from __future__ import annotations

import re
import sys
from itertools import islice
from time import monotonic

TYPE_CHECKING = False  # as in typing, which is slow to import
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType, ModuleType
    from typing import Any

MAX_NAMES = 16
_MAX_LOOKED_AT = 1000  # of the names of one frame
_MAX_TEXT = 80
_MAX_SUMMARY = 200
_MAX_ITEMS = 4
_MAX_DEPTH = 2
_MAX_ELEMENTS = 10_000_000  # of a tensor that is read in whole, 10 ms or so
_MAX_SECONDS = 0.5  # for all readings of one failure

_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_STRING = re.compile(r"\"[^\"]*\"|'[^']*'|#.*")
_NOTHING = (bool, type(None), type(...))
_NUMBERS = (int, float, complex)
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("{", "}"),
}
_HOLDING = (*_NUMBERS, *_BRACKETS, dict, slice, range)
_FUNCTIONS = ("module", "function", "builtin_function_or_method", "method")
_READ = frozenset(
    ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64")
)
_NAMESPACE = type(sys.implementation)  # types.SimpleNamespace
# As C code reads them: a metaclass or a class can put a property of its own before each.
_qualified_name = type.__dict__["__qualname__"].__get__
_resolution_order = type.__dict__["__mro__"].__get__
_class_dict = type.__dict__["__dict__"].__get__
_GETTER = type(type.__dict__["__qualname__"])
_SLOT = type(slice.start)


class Summary:
    """Summaries of the frames of one failure.

    read_values: whether tensors in host memory are read at all.
    secrets: the module `_secrets`.
    """

    def __init__(self, read_values: bool, secrets: ModuleType) -> None:
        self._read_values = read_values
        self._secrets = secrets
        self._deadline = monotonic() + _MAX_SECONDS
        self._files: list[tuple[int, int]] | None = None

    def of(self, frame: FrameType, code: str | None) -> dict[str, str]:
        """{name: summary}: first what the failing line mentions (`self.W_dec` too), then the other locals."""
        known = _variables(frame)
        found: dict[str, str] = {}
        for path in _PATH.findall(_STRING.sub("", code or "")):
            self._add(found, path, known)
        if known is frame.f_globals:
            return found
        for name, value in list(islice(known.items(), _MAX_LOOKED_AT)):
            if len(found) >= MAX_NAMES:
                break
            if type(name) is not str or name.startswith("__") or not name.isidentifier():
                continue
            if name not in found and _is_told(value):
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
            if key not in found and _is_told(value):
                found[key] = self.summary(value, key)

    def summary(self, value: Any, name: str = "", depth: int = 0) -> str:
        """A value in a few words, at most 200 characters."""
        try:
            text = self._summary(value, name, depth)
        except Exception:  # whatever a strange class does, the other variables are still told
            text = _type_name(value)
        return text if len(text) <= _MAX_SUMMARY else text[: _MAX_SUMMARY - 3] + "..."

    def _summary(self, value: Any, name: str, depth: int) -> str:
        kind = type(value)
        if kind is str:
            return self._text(value, name)
        if kind is bytes:
            return f"{len(value)} bytes"
        if kind in _NOTHING:
            return str(value)
        if kind in _HOLDING and self._secrets.is_secret(name):
            return str(self._secrets.HIDDEN)
        if kind in _NUMBERS:
            return f"an int of {value.bit_length()} bits" if _is_huge(value) else str(value)
        if kind in _BRACKETS:
            return self._sequence(value, name, depth)
        if kind is dict:
            return self._mapping(value, name, depth)
        return self._tensor(value) or self._array(value) or self._object(value, name, depth)

    def _text(self, value: str, name: str) -> str:
        if self._secrets.is_secret_text(name, value):
            return str(self._secrets.HIDDEN)
        if len(value) <= _MAX_TEXT:
            return repr(value)
        return f"{value[:_MAX_TEXT]!r}... ({len(value)} characters)"

    def _sequence(self, value: Any, name: str, depth: int) -> str:
        kind = type(value)
        head = f"{kind.__name__} of {len(value)}"
        if depth >= _MAX_DEPTH or not value:
            return head
        shown = self._items(list(islice(value, _MAX_ITEMS)), name, depth)
        more = ", ..." if len(value) > len(shown) else ""
        left, right = _BRACKETS[kind]
        return f"{head}: {left}{', '.join(shown)}{more}{right}"

    def _items(self, items: Iterable[Any], name: str, depth: int) -> list[str]:
        """Each item; one after the name of a secret (`--api-key`, the first of a pair) as of that name."""
        shown, named = [], name
        for item in items:
            shown.append(self.summary(item, named, depth + 1))
            names = type(item) is str and self._secrets.names_secret(item)
            named = item if names else name
        return shown

    def _mapping(self, value: dict[Any, Any], name: str, depth: int) -> str:
        head = f"dict of {len(value)}"
        if depth >= _MAX_DEPTH or not value:
            return head
        if "PATH" in value and "HOME" in value:
            return f"{head}, an environment"
        return f"{head}: {{{self._fields(value, name, depth)}}}"

    def _fields(self, fields: dict[Any, Any], name: str, depth: int) -> str:
        shown = []
        for key, value in list(islice(fields.items(), _MAX_ITEMS)):
            path = f"{name}.{_key_name(key)}"
            shown.append(
                f"{self.summary(key, '', depth + 1)}: {self.summary(value, path, depth + 1)}"
            )
        return ", ".join(shown) + (", ..." if len(fields) > len(shown) else "")

    def _object(self, value: Any, name: str, depth: int) -> str:
        kind = type(value)
        word = _type_name(value)
        if kind is range:
            parts = (value.start, value.stop) if value.step == 1 else _parts(value)
            return f"range({', '.join(self._items(parts, name, depth))})"
        if kind is slice:
            return f"slice({', '.join(self._items(_parts(value), name, depth))})"
        is_namespace = kind is _NAMESPACE or kind is _from("argparse", "Namespace")
        if is_namespace and depth < _MAX_DEPTH:  # the experiment's arguments
            return f"{word}({self._fields(vars(value), name, depth)})"
        if kind in (_from("pathlib", "PosixPath"), _from("pathlib", "WindowsPath")):
            return f"{word} {self._text(str(value), name)}"
        if kind is _from("pandas", word) and hasattr(value, "shape"):
            return f"{word} {tuple(value.shape)}"
        return word

    # ---------------------------------------------------------------- tensors

    def _tensor(self, value: Any) -> str:
        """`Tensor (32, 128) float32 on cpu, from -1.2 to 3.4`; empty for what is no tensor."""
        torch = sys.modules.get("torch")
        kind = type(value)
        if torch is None or not issubclass(kind, torch.Tensor):
            return ""
        dispatcher = next(
            k for k in _resolution_order(kind) if "__torch_dispatch__" in _class_dict(k)
        )
        if not str(_class_dict(dispatcher)["__module__"]).startswith("torch"):
            return ""  # its shape is told by code of the program
        with torch._C.DisableTorchFunction(), torch.no_grad():
            shape, dtype, device, layout, requires_grad = (
                getattr(torch.Tensor, part).__get__(value)
                for part in ("shape", "dtype", "device", "layout", "requires_grad")
            )
            parts = [f"{_type_name(value)} {tuple(shape)} {str(dtype)[6:]} on {device}"]
            if requires_grad:
                parts.append("requires grad")
            plain = kind in (torch.Tensor, torch.nn.Parameter) and layout is torch.strided
            if plain and str(device) == "cpu" and str(dtype)[6:] in _READ:
                parts += self._tensor_extent(torch, value)
        return ", ".join(parts)

    def _tensor_extent(self, torch: Any, value: Any) -> list[str]:
        try:
            modes = torch._C._len_torch_dispatch_stack()  # each would run code of the program
            if modes or not self._may_read(value.numel(), value.data_ptr()):
                return []
            # Needs no memory beside the tensor's, and a NaN anywhere makes both of them NaN.
            least, greatest = value.detach().aminmax()
            return _extent(least.item(), greatest.item())
        except Exception:  # one that lives inside a transform (vmap) only
            return []

    def _array(self, value: Any) -> str:
        """The same of a numpy array or number."""
        numpy = sys.modules.get("numpy")
        kind = type(value)
        if numpy is None or not issubclass(kind, (numpy.ndarray, numpy.generic)):
            return ""
        base = numpy.ndarray if issubclass(kind, numpy.ndarray) else numpy.generic
        shape, dtype = base.shape.__get__(value), base.dtype.__get__(value)
        fields = dtype.names
        text = str(dtype)[:_MAX_TEXT] if fields is None else f"{len(fields)} fields"
        parts = [f"{_type_name(value)} {tuple(shape)} {text}"]
        plain = kind is numpy.ndarray or kind is dtype.type
        if plain and text in _READ:
            size = value.size
            address = value.ctypes.data if kind is numpy.ndarray and size else 1
            with numpy.errstate(all="ignore"):
                if self._may_read(size, address):
                    parts += _extent(value.min().item(), value.max().item())
        return ", ".join(parts)

    def _may_read(self, elements: int, address: int) -> bool:
        if not self._read_values or not 0 < elements <= _MAX_ELEMENTS or not address:
            return False  # an address of 0: storage that was given back
        if self._files is None:
            self._files = _mapped_files()
        in_file = any(start <= address < end for start, end in self._files)
        return not in_file and monotonic() < self._deadline


def _mapped_files() -> list[tuple[int, int]]:
    """(start, end) of the memory that stands for files on disk; empty where the system does not tell."""
    found = []
    try:
        with open("/proc/self/maps", "rb") as file:
            for line in file:
                words = line.split(None, 5)
                if len(words) == 6 and words[5].startswith(b"/") and words[5][:5] != b"/dev/":
                    start, _, end = words[0].partition(b"-")
                    found.append((int(start, 16), int(end, 16)))
    except OSError:
        pass
    return found


def _extent(least: float, greatest: float) -> list[str]:
    if least != least or greatest != greatest:
        return ["has NaN"]
    infinite = float("inf") in (-least, greatest)
    words = f"{least:.4g}" if least == greatest else f"from {least:.4g} to {greatest:.4g}"
    return [("has infinity, " if infinite else "") + words]


def _variables(frame: FrameType) -> dict[str, Any]:
    """Of a function, a module or a class body; nothing where a mapping of the program's own holds them."""
    known: Any = frame.f_locals
    if type(known) is dict:
        return known
    if issubclass(type(known), dict):
        return dict.copy(known)
    is_function = (
        frame.f_code.co_flags & 1
    )  # CO_OPTIMIZED: from Python 3.13 on a proxy of the interpreter's
    return dict(known) if is_function else {}


def _is_told(value: Any) -> bool:
    return not issubclass(type(value), type) and _type_name(value) not in _FUNCTIONS


def _attribute(value: Any, name: str) -> tuple[Any] | None:
    """An attribute that an instance or a torch module holds itself; in a tuple, or None."""
    for kind in _resolution_order(type(value)):
        own = _class_dict(kind)
        if "__slots__" in own and type(own.get(name)) is _SLOT:
            try:
                return (own[name].__get__(value),)
            except AttributeError:  # not set
                return None
        if "__dict__" in own:
            if type(own["__dict__"]) not in (_GETTER, _SLOT):
                return None  # a property
            return _held_in(own["__dict__"].__get__(value), name)
    return None


def _held_in(own: Any, name: str) -> tuple[Any] | None:
    if type(own) is not dict:
        return None
    parts: list[Any] = [own, *(own.get(kind) for kind in ("_parameters", "_buffers", "_modules"))]
    for held in parts:
        if issubclass(type(held), dict) and dict.__contains__(held, name):
            return (dict.__getitem__(held, name),)
    return None


def _from(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, None)


def _parts(value: Any) -> tuple[Any, Any, Any]:
    return value.start, value.stop, value.step


def _key_name(key: Any) -> str:
    """The words of a dictionary's key, of `("db", "password")` too."""
    if type(key) is bytes:
        key = key[:_MAX_TEXT].decode("latin-1")
    if type(key) is tuple:
        return ".".join(part for part in map(_key_name, key[:_MAX_ITEMS]) if part)
    return key[:_MAX_TEXT] if type(key) is str else ""


def _type_name(value: Any) -> str:
    return str.replace(_qualified_name(type(value)), "<locals>.", "")


def _is_huge(value: Any) -> bool:
    return type(value) is int and value.bit_length() > 256
