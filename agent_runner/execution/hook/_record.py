"""How an exception becomes `exception.json`. The exception hook loads it when there is one.

Imports only what every interpreter has loaded: the first record must need nothing that a program can break.
"""

from __future__ import annotations

import builtins
import sys
from _thread import get_ident
from posix import getpid, link, replace, stat, unlink  # those of `os` may be patched

TYPE_CHECKING = False  # as in typing, which is slow to import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType, TracebackType
    from typing import Any

_MAX_RECORD = 200_000
_MAX_CHAIN = 20
_MAX_OUTER_FRAMES = 50  # of an endless recursion only the two ends are kept
_MAX_INNER_FRAMES = 150
_MAX_MESSAGE = 32 * 1024
_MAX_SOURCE = 4 * 1024 * 1024
_MAX_LINE = 500
_MAX_NAME = 2000
_MAX_SUMMARIES = 8  # the variables of so many frames, the innermost
_LIBRARIES = ("site-packages", "dist-packages")


def write(recorder: Any, error: BaseException) -> None:
    """Write the record of what ends the calling thread. `recorder` is the hook's."""
    if not recorder.is_main() and _exists(f"{recorder.folder}/exception.json"):
        return
    told = _Telling(recorder, error)
    if not recorder.is_main():
        # Reading tensors could hang in a forked worker, whose thread pool stayed with its parent.
        told.load(read_values=False)
        _save(told.text(), recorder)
        return
    _save(told.text(), recorder)
    if issubclass(type(error), KeyboardInterrupt) and "re" not in sys.modules:
        return  # importing it now may have the interpreter exit with 1 instead of by the signal
    # Again, with the variables: should that crash or hang, the exception is on disk already.
    told.load(read_values=True)
    _save(told.text(), recorder)


def _save(text: str, recorder: Any) -> None:
    """Put it in its place in one step: of the main thread over what is there, of others if nothing is."""
    path = f"{recorder.folder}/exception.json"
    aside = f"{path}.{getpid()}.{get_ident()}"
    try:
        with open(aside, "wb", buffering=0) as file:
            complete = file.write(text.encode()) == len(text)  # not so on a full disk
        if complete:
            (replace if recorder.is_main() else link)(aside, path)
    except OSError:  # a full disk; another came first
        pass
    _remove(aside)


def _exists(path: str) -> bool:
    try:
        stat(path)
    except OSError:
        return False
    return True


def _remove(path: str) -> None:
    try:
        unlink(path)
    except OSError:  # it is in its place
        return


class _Telling:
    """One failure in words. Of the exceptions only what C code holds is read: a class may have properties."""

    def __init__(self, recorder: Any, error: BaseException) -> None:
        self._recorder = recorder
        # The messages once: each is made by code of the program.
        self._chain = [(e, relation, _message(e)) for e, relation in _chain(error)]
        self._sources: dict[str, list[bytes]] = {}
        self._summary: Any = None
        self._secrets: Any = None

    def load(self, read_values: bool) -> None:
        """Have the variables told too, and secrets hidden; not so if a file of the program is in the way."""
        try:
            secrets = self._recorder.load("_secrets")
            locals_module = self._recorder.load("_frame_locals")
            self._summary = locals_module.Summary(read_values, secrets)
            self._secrets = secrets
        except BaseException:  # without them, the exception is still told
            return

    def text(self) -> str:
        """JSON text of at most 200 KB: the longer it would be, the less of each part is told."""
        for share in (1, 4, 16, 64):
            text = _to_json(self._describe(share))
            if len(text) <= _MAX_RECORD:
                break
        return text

    def _describe(self, share: int) -> dict[str, Any]:
        errors = (e for e, _, _ in self._chain)
        broken = next((e for e in errors if issubclass(type(e), SyntaxError)), None)
        return {
            "schema_version": 1,
            "pid": getpid(),
            "thread": _thread_name(),
            "chain": [self._raised(*link, share) for link in self._chain],
            "syntax_error": None if broken is None else self._syntax_error(broken),
        }

    def _raised(
        self, error: BaseException, relation: str, message: str, share: int
    ) -> dict[str, Any]:
        places = _places(_held(error, "__traceback__"), share)
        own = [frame for frame, _ in places if self._is_own(frame.f_code)]
        told = own[-max(1, _MAX_SUMMARIES // share) :] if self._summary and share < 64 else []
        message = message[: _MAX_MESSAGE // share]
        return {
            "type": _of_class(type(error), "__qualname__"),
            "module": _of_class(type(error), "__module__"),
            "message": self._secrets.in_message(message) if self._secrets else message,
            "relation": relation,
            "frames": [self._frame(frame, line, frame in told, share) for frame, line in places],
        }

    def _frame(self, frame: FrameType, line: int, told: bool, share: int) -> dict[str, Any]:
        file = self._absolute(frame.f_code.co_filename)
        code = self._source_line(file, line)
        described: dict[str, Any] = {
            "file": file[: _MAX_NAME // share],
            "line": line,
            "function": frame.f_code.co_name[: _MAX_NAME // share],
            "code": code and self._clean(code[: _MAX_LINE // min(share, 4)]),
        }
        if told:
            described["locals"] = self._locals(frame, code)
        return described

    def _locals(self, frame: FrameType, code: str | None) -> dict[str, str]:
        try:
            return self._summary.of(frame, code)  # type: ignore[no-any-return]
        except Exception:  # of this frame only
            return {}

    def _clean(self, code: str) -> str:
        return str(self._secrets.in_code(code)) if self._secrets else code

    def _is_own(self, code: CodeType) -> bool:
        """Whether this is the program's own text: a file below the folder it was started in, of no library."""
        file = self._absolute(code.co_filename)
        own = file.startswith(self._recorder.start_directory.rstrip("/") + "/")
        return own and not any(f"/{name}/" in file for name in _LIBRARIES)

    def _syntax_error(self, error: BaseException) -> dict[str, Any]:
        file, text, line, offset = (
            _held(error, name, SyntaxError) for name in ("filename", "text", "lineno", "offset")
        )
        return {
            "file": self._absolute(file)[:_MAX_NAME] if type(file) is str and file else None,
            "line": line if type(line) is int else None,
            "offset": offset if type(offset) is int else None,
            "text": self._clean(text[:_MAX_LINE]) if type(text) is str else None,
        }

    def _absolute(self, file: str) -> str:
        if file.startswith(("<", "/")) or not self._recorder.start_directory:
            return file
        return f"{self._recorder.start_directory.rstrip('/')}/{file}"

    def _source_line(self, file: str, line: int) -> str | None:
        """A line of a source file as it is now, or None. Not by linecache: that may be the program's own."""
        try:
            if file not in self._sources:
                self._sources[file] = _lines(file)
            return self._sources[file][line - 1].decode("utf-8", "replace").strip()[:_MAX_LINE]
        except Exception:  # "<stdin>", a zip archive, a line of 0
            return None


def _lines(file: str) -> list[bytes]:
    if stat(file).st_mode & 0o170000 != 0o100000:  # a pipe, which could hang
        return []
    with open(file, "rb") as source:
        return source.read(_MAX_SOURCE).split(b"\n")


def _thread_name() -> str:
    try:
        threading = sys.modules.get("threading")  # not imported: there is one thread
        return str(threading.current_thread().name)[:100] if threading else "MainThread"
    except BaseException:  # a file of the program's own of that name, a thread with a property
        return "unknown"


def _held(error: BaseException, name: str, kind: type = BaseException) -> Any:
    return kind.__dict__[name].__get__(error)


def _of_class(kind: type, name: str) -> str:
    try:
        text = type.__dict__[name].__get__(kind)
    except AttributeError:
        text = None
    return text[:200] if type(text) is str else "unknown"


def _chain(error: BaseException | None) -> Iterator[tuple[BaseException, str]]:
    """The exception and what it was raised from, outward-in; of a group its first member."""
    group: Any = getattr(builtins, "BaseExceptionGroup", ())
    seen: set[int] = set()
    relation = "raised"
    while error is not None and id(error) not in seen and len(seen) < _MAX_CHAIN:
        seen.add(id(error))
        yield error, relation
        if (cause := _held(error, "__cause__")) is not None:
            error, relation = cause, "cause"
        elif issubclass(type(error), group):
            error, relation = _held(error, "exceptions", group)[0], "cause"
        else:
            hidden = _held(
                error, "__suppress_context__"
            )  # `from None`: not shown, and often the cause
            error, relation = _held(error, "__context__"), "suppressed" if hidden else "context"


def _places(traceback: TracebackType | None, share: int) -> list[tuple[FrameType, int]]:
    """(frame, line) of each frame, outermost first."""
    places = []
    while traceback is not None:
        places.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    outer, inner = max(1, _MAX_OUTER_FRAMES // share), _MAX_INNER_FRAMES // share
    return places if len(places) <= outer + inner else places[:outer] + places[-inner:]


def _message(error: BaseException) -> str:
    try:
        text = str.__getitem__(str(error), slice(_MAX_MESSAGE))
    except BaseException:  # a __str__ of the program's own
        text = "<the exception's own text cannot be shown>"
    notes = _held(error, "__dict__").get("__notes__", ())
    shown = (
        [note for note in notes[:_MAX_CHAIN] if type(note) is str] if type(notes) is list else []
    )
    return "\n".join([text, *shown])[:_MAX_MESSAGE]


def _to_json(value: Any) -> str:
    """JSON text of plain values. By hand, since the program may have a file that is called `json.py`."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value))}"'
    if isinstance(value, dict):
        return "{" + ",".join(f"{_to_json(k)}:{_to_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_to_json, value)) + "]"
    return str(int(value))


def _escaped(character: str) -> str:
    number = ord(character)
    if 32 <= number < 127 and character not in '"\\':
        return character
    if 0xD800 <= number < 0xE000:
        return f"\\\\u{number:04x}"  # half of a pair is no text
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
