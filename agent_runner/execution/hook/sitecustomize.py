"""Leaves a record of what ended the experiment. PYTHONPATH has its interpreter load it before the program.

In $AGENT_RUNNER_RECORD_DIR it writes `exception.json` (the uncaught exception with its causes and frames) and
`faulthandler.log` (stacks after a crash of the interpreter, or when the supervisor asks for them). Without that
variable it does nothing. What the program prints, its exit code and its imports stay as they are without it.

For any Python from 3.8 on. Imports as little as it can: start-up time is the experiment's, and once the program
runs, a file of it may stand in the way of a module of the standard library.
"""

from __future__ import annotations

import atexit
import os
import sys
from _thread import get_ident
from importlib.machinery import PathFinder

TYPE_CHECKING = False  # as in typing, which is slow to import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType, ModuleType, TracebackType
    from typing import Any

_MAX_CHAIN = 20
_MAX_OUTER_FRAMES = 50  # of an endless recursion only the two ends are kept
_MAX_INNER_FRAMES = 150
_MAX_MESSAGE = 64 * 1024
_MAX_SOURCE = 4 * 1024 * 1024
_MAX_LINE = 500
_MAX_SUMMARIES = 8  # the variables of so many frames, the innermost
_LIBRARIES = ("site-packages", "dist-packages")

_MAIN_PID = "AGENT_RUNNER_MAIN_PID"
# The supervisor's request for the stacks of all threads; equal to supervisor.STACK_DUMP_SIGNAL.
_STACK_DUMP_FROM_SIGRTMIN = 7


# ---------------------------------------------------------------- the record


class _Recorder:
    """Writes `exception.json`: of the main process's main thread the last, of all others the first to come."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.start_directory = os.getcwd()
        # Told to the Python programs that this one starts, by its environment.
        self.main_pid = os.environ.setdefault(_MAIN_PID, str(os.getpid()))
        self.main_thread = get_ident()
        # A program that has used up its file handles fails with that: the record of it needs one.
        self._reserve = [os.open(os.devnull, os.O_RDONLY)]

    def record(self, error: BaseException) -> None:
        """Write down what ends the calling thread."""
        try:
            while self._reserve:
                os.close(self._reserve.pop())
            if not self._is_main():
                # Reading tensors could hang in a forked worker, whose thread pool stayed with its parent.
                self._write(_to_json(self._describe(error, _summary(read_values=False))))
                return
            self._write(_to_json(self._describe(error, None)))
            if isinstance(error, KeyboardInterrupt):
                return  # imports made now may have the interpreter exit with 1 instead of by the signal
            # Again, with the variables: should that crash or hang, the exception is on disk already.
            self._write(_to_json(self._describe(error, _summary(read_values=True))))
        except Exception:  # of whatever kind, it must not take the place of the program's own
            return

    def _is_main(self) -> bool:
        return str(os.getpid()) == self.main_pid and get_ident() == self.main_thread

    def _write(self, text: str) -> None:
        path = os.path.join(self.folder, "exception.json")
        aside = f"{path}.{os.getpid()}.{get_ident()}"
        with open(aside, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        if self._is_main():
            os.replace(aside, path)
            return
        try:
            os.link(aside, path)  # fails where there is one
        finally:
            os.unlink(aside)

    def _describe(self, error: BaseException, summary: Any) -> dict[str, Any]:
        chain = list(_chain(error))
        broken = next((e for e, _ in chain if isinstance(e, SyntaxError)), None)
        return {
            "schema_version": 1,
            "pid": os.getpid(),
            "thread": _thread_name(),
            "chain": [self._raised(e, relation, summary) for e, relation in chain],
            "syntax_error": None if broken is None else self._syntax_error(broken),
        }

    def _raised(self, error: BaseException, relation: str, summary: Any) -> dict[str, Any]:
        places = _places(error.__traceback__)
        own = [frame for frame, _ in places if self._is_own(frame.f_code)][-_MAX_SUMMARIES:]
        return {
            "type": type(error).__qualname__,
            "module": type(error).__module__,
            "message": _message(error),
            "relation": relation,
            "frames": [
                self._frame(frame, line, summary if frame in own else None)
                for frame, line in places
            ],
        }

    def _frame(self, frame: FrameType, line: int, summary: Any) -> dict[str, Any]:
        file = self._absolute(frame.f_code.co_filename)
        code = _source_line(file, line)
        described = {
            "file": file,
            "line": line,
            "function": frame.f_code.co_name,
            "code": code,
        }
        if summary is not None:
            described["locals"] = summary.of(frame, code)
        return described

    def _is_own(self, code: CodeType) -> bool:
        """Whether this is the program's own text: a file below the folder it was started in, of no library."""
        file = self._absolute(code.co_filename)
        own = file.startswith(self.start_directory.rstrip(os.sep) + os.sep)
        return own and not any(f"{os.sep}{name}{os.sep}" in file for name in _LIBRARIES)

    def _syntax_error(self, error: SyntaxError) -> dict[str, Any]:
        return {
            "file": self._absolute(error.filename) if error.filename else None,
            "line": error.lineno,
            "offset": error.offset,
            "text": error.text and error.text[:_MAX_LINE],
        }

    def _absolute(self, file: str) -> str:
        return file if file.startswith("<") else os.path.join(self.start_directory, file)


def _summary(read_values: bool) -> Any:
    """A `_frame_locals.Summary`, or None. Found by its path: the program may have changed sys.path."""
    try:
        from importlib.util import module_from_spec, spec_from_file_location

        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_frame_locals.py")
        spec = spec_from_file_location("_frame_locals", path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.Summary(read_values)
    except Exception:  # without the variables, the exception is still told
        return None


def _thread_name() -> str:
    threading = sys.modules.get("threading")  # not imported: there is one thread
    return str(threading.current_thread().name) if threading else "MainThread"


def _chain(error: BaseException | None) -> Iterator[tuple[BaseException, str]]:
    """The exception and what it was raised from, outward-in, as a traceback shows them."""
    seen: set[int] = set()
    relation = "raised"
    while error is not None and id(error) not in seen and len(seen) < _MAX_CHAIN:
        seen.add(id(error))
        yield error, relation
        if error.__cause__ is not None:
            error, relation = error.__cause__, "cause"
        elif error.__suppress_context__:
            error = None
        else:
            error, relation = error.__context__, "context"


def _places(traceback: TracebackType | None) -> list[tuple[FrameType, int]]:
    """(frame, line) of each frame, outermost first."""
    places = []
    while traceback is not None:
        places.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    if len(places) > _MAX_OUTER_FRAMES + _MAX_INNER_FRAMES:
        return places[:_MAX_OUTER_FRAMES] + places[-_MAX_INNER_FRAMES:]
    return places


def _message(error: BaseException) -> str:
    try:
        text = "\n".join([str(error), *map(str, getattr(error, "__notes__", ()))])
    except Exception:  # a __str__ of the program's own
        return "<the exception's own text cannot be shown>"
    return text[:_MAX_MESSAGE]


def _source_line(file: str, line: int) -> str | None:
    """A line of a source file as it is now, or None. Not by linecache: that may be the program's own file."""
    try:
        with open(file, "rb") as source:
            text = source.read(_MAX_SOURCE).decode("utf-8", "replace")
        return text.split("\n")[line - 1].strip()[:_MAX_LINE]
    except Exception:  # "<stdin>", a zip archive, a line of 0
        return None


def _to_json(value: Any) -> str:
    """JSON text of plain values. By hand, since the program may have a file that is called `json.py`."""
    if value is None:
        return "null"
    if isinstance(value, str):
        from _json import encode_basestring_ascii  # compiled in

        return encode_basestring_ascii(value.encode("utf-8", "backslashreplace").decode())
    if isinstance(value, dict):
        return "{" + ",".join(f"{_to_json(k)}:{_to_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_to_json, value)) + "]"
    return str(int(value))


# ---------------------------------------------------------------- where exceptions pass


def _watch_main_thread(recorder: _Recorder) -> None:
    previous = sys.excepthook
    called = []

    def excepthook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        called.append(True)
        recorder.record(error)
        previous(kind, error, traceback)

    def at_exit() -> None:
        # A program that set a hook of its own: the interpreter still notes what ended it.
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if error is not None and not called:
            recorder.record(error)

    sys.excepthook = excepthook
    atexit.register(at_exit)


def _watch_imports(recorder: _Recorder) -> None:
    """Adds to the modules that run threads and workers when, and only if, the program imports them."""
    watches = {"threading": _watch_threads, "multiprocessing.process": _watch_workers}

    class Finder:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: ModuleType | None = None) -> Any:
            spec = PathFinder.find_spec(name, path, target) if name in watches else None
            if spec is None or spec.loader is None:
                return None
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                if watch := watches.pop(name, None):
                    watch(module, recorder)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
            return spec

    sys.meta_path.insert(0, Finder)
    for name in set(watches).intersection(sys.modules):  # another sitecustomize was faster
        watches.pop(name)(sys.modules[name], recorder)


def _watch_threads(module: Any, recorder: _Recorder) -> None:
    previous = module.excepthook

    def excepthook(args: Any) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            recorder.record(args.exc_value)
        previous(args)

    module.excepthook = excepthook


def _watch_workers(module: Any, recorder: _Recorder) -> None:
    """Reports what ends a multiprocessing worker, which prints its traceback by itself and calls no hook."""
    bootstrap = getattr(module.BaseProcess, "_bootstrap", None)
    if bootstrap is None:  # a private name: it may go
        return

    def recorded_bootstrap(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = self.run

        def recorded_run() -> None:
            try:
                run()
            except SystemExit:
                raise
            except BaseException as error:
                # Our own frame is to be neither in the record nor (from 3.11 on) in what is printed.
                error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
                recorder.record(error)
                raise

        if hasattr(self, "__dict__"):  # not a subclass with slots
            self.run = recorded_run
        return bootstrap(self, *args, **kwargs)

    module.BaseProcess._bootstrap = recorded_bootstrap


def _enable_faulthandler(recorder: _Recorder) -> None:
    import _signal  # type: ignore[import-not-found]  # compiled in; `signal` imports enum
    import faulthandler

    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    log = os.open(os.path.join(recorder.folder, "faulthandler.log"), flags, 0o600)
    faulthandler.enable(log, all_threads=True)
    if hasattr(_signal, "SIGRTMIN"):
        number = _signal.SIGRTMIN + _STACK_DUMP_FROM_SIGRTMIN
        faulthandler.register(number, log, all_threads=True, chain=False)


# ---------------------------------------------------------------- start


def _load_next_sitecustomize() -> None:
    """Run the sitecustomize that ours hides (distributions, conda and coverage have one)."""
    here = os.path.dirname(os.path.abspath(__file__))
    others = [p for p in sys.path if os.path.abspath(p or os.curdir) != here]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def _install(folder: str) -> None:
    recorder = _Recorder(folder)
    for install in (_watch_main_thread, _watch_imports, _enable_faulthandler):
        install(recorder)


try:
    _load_next_sitecustomize()
finally:
    if os.environ.get("AGENT_RUNNER_RECORD_DIR"):
        try:
            _install(os.environ["AGENT_RUNNER_RECORD_DIR"])
        except (
            Exception
        ):  # a help, and none may stop the program: a full disk, a folder that is gone
            os.environ.setdefault(_MAIN_PID, str(os.getpid()))
