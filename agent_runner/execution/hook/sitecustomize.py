"""Leaves a record of what ended the experiment. PYTHONPATH has its interpreter load it before the program.

In $AGENT_RUNNER_RECORD_DIR it writes `exception.json` (the uncaught exception with its causes and frames) and
`faulthandler.log` (stacks after a crash of the interpreter, or when the supervisor asks for them). Without that
variable it does nothing. What the program prints, its exit code and its imports stay as they are without it.

For any Python from 3.8 on. Uses only what every interpreter has loaded or compiled in: start-up time is the
experiment's, what the program forgot to import is to be missing with us too, and once it runs, a file or a
patch of it may stand in the way of anything.
"""

from __future__ import annotations

import atexit
import builtins
import os
import sys
from _frozen_importlib import module_from_spec
from _frozen_importlib_external import PathFinder, spec_from_file_location
from _thread import get_ident
from os import close, dup2, fstat, getpid  # by name: the program may replace those of the module

TYPE_CHECKING = False  # as in typing, which is slow to import
if TYPE_CHECKING:
    from types import ModuleType, TracebackType
    from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))
_RECURSION_LIMIT = 1000  # what the record needs at most
_SPARE_MEMORY = 4 * 1024 * 1024
_HIGHEST_HANDLE = 4095

_MAIN_PID = "AGENT_RUNNER_MAIN_PID"
# The supervisor's request for the stacks of all threads; equal to supervisor.STACK_DUMP_SIGNAL.
_STACK_DUMP_FROM_SIGRTMIN = 7


# ---------------------------------------------------------------- the record


class _Recorder:
    """Writes `exception.json`: of the main process's main thread the last, of all others the first to come."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        try:
            self.start_directory = os.getcwd()
        except OSError:  # it is gone
            self.start_directory = ""
        # Told to the Python programs that this one starts, by its environment.
        self.main_pid = os.environ.setdefault(_MAIN_PID, str(getpid()))
        self.main_thread = get_ident()
        self._builtins = dict(vars(builtins))
        self._modules: dict[str, Any] = {}
        # Not yet with the program's own folder and its own finders.
        self._imports = (list(sys.path), list(sys.meta_path), builtins.__import__)
        self._reserve: Any = None
        self._keep_reserve()

    def _keep_reserve(self) -> None:
        """A program that has used up its handles or its memory fails with that: its record needs some."""
        self._reserve = (_out_of_sight(os.open(os.devnull, os.O_RDONLY)), bytes(_SPARE_MEMORY))

    def record(self, error: BaseException) -> None:
        """Write down what ends the calling thread. Whatever fails then: nothing takes the place of `error`."""
        observers = sys.gettrace(), sys.getprofile()
        limit = sys.getrecursionlimit()
        self._make_room(limit)
        for _ in range(2):  # a handler of a signal may interrupt the first
            try:
                self.load("_record").write(self, error)
                break
            except BaseException:
                continue
        try:
            self._keep_reserve()
            sys.setrecursionlimit(limit)
        except BaseException:  # there is less room than before
            pass
        sys.settrace(observers[0])
        sys.setprofile(observers[1])

    def _make_room(self, limit: int) -> None:
        try:
            sys.settrace(None)  # a debugger of the program's own is not to see us
            sys.setprofile(None)
            sys.setrecursionlimit(max(limit, _RECURSION_LIMIT))
            if self._reserve:
                handle, self._reserve = self._reserve[0], None
                close(handle)
        except BaseException:  # the program has closed it
            pass

    def is_main(self) -> bool:
        return str(getpid()) == self.main_pid and get_ident() == self.main_thread

    def load(self, name: str) -> Any:
        """A module of our own folder. It sees builtins and imports as before the program changed any."""
        if name not in self._modules:
            former = sys.path, sys.meta_path, builtins.__import__
            alone = get_ident() == self.main_thread  # of others, the main thread may be importing
            try:
                if alone:
                    sys.path, sys.meta_path, builtins.__import__ = self._imports
                self._modules[name] = self._run(name)
            finally:
                if alone:
                    sys.path, sys.meta_path, builtins.__import__ = former
        return self._modules[name]

    def _run(self, name: str) -> ModuleType:
        spec = spec_from_file_location(f"_agent_runner{name}", f"{_HERE}/{name}.py")
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        module.__dict__["__builtins__"] = self._builtins
        spec.loader.exec_module(module)
        return module


# ---------------------------------------------------------------- where exceptions pass


def _watch_main_thread(recorder: _Recorder) -> None:
    previous = sys.excepthook
    recorded: list[bool] = []

    def excepthook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if issubclass(type(error), BaseException):
            recorder.record(error)
            # The program may also have called it, to print an exception that it had caught.
            recorded[:] = [error is _last_error()]
        previous(kind, error, traceback)

    def at_exit() -> None:
        # A program that set a hook of its own: the interpreter still notes what ended it.
        error = _last_error()
        if error is not None and not any(recorded):
            recorder.record(error)

    # Some ask whether the two are the same, or set the one to the other.
    if previous is sys.__excepthook__:
        sys.__excepthook__ = excepthook
    sys.excepthook = excepthook
    atexit.register(at_exit)


def _last_error() -> BaseException | None:
    error: BaseException | None = getattr(sys, "last_exc", None)
    return getattr(sys, "last_value", None) if error is None else error


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
    """By what calls `threading.excepthook`, since the program may set that."""
    make = getattr(module, "_make_invoke_excepthook", None)
    if make is None:  # a private name: it may go
        return

    def make_recorded() -> Any:
        invoke = make()

        def invoke_excepthook(thread: Any) -> None:
            error = sys.exc_info()[1]
            if error is not None and not issubclass(type(error), SystemExit):
                recorder.record(error)
            invoke(thread)

        return invoke_excepthook

    module._make_invoke_excepthook = make_recorded


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


def _out_of_sight(handle: int) -> int:
    """Move a handle to a high number: programs close the low ones, and the next file gets the number."""
    highest = min(_HIGHEST_HANDLE, os.sysconf("SC_OPEN_MAX") - 1)
    for number in range(highest, max(highest - 100, 2), -1):
        try:
            fstat(number)
        except OSError:  # it is free
            moved = dup2(handle, number, inheritable=False)
            close(handle)
            return moved
    return handle


def _enable_faulthandler(recorder: _Recorder) -> None:
    import _signal  # type: ignore[import-not-found]  # compiled in; `signal` imports enum
    import faulthandler

    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    log = _out_of_sight(os.open(f"{recorder.folder}/faulthandler.log", flags, 0o600))
    faulthandler.enable(log, all_threads=True)
    if hasattr(_signal, "SIGRTMIN"):
        number = _signal.SIGRTMIN + _STACK_DUMP_FROM_SIGRTMIN
        faulthandler.register(number, log, all_threads=True, chain=False)


# ---------------------------------------------------------------- start


def _load_next_sitecustomize() -> None:
    """Run the sitecustomize that ours hides (distributions, conda and coverage have one)."""
    others = [p for p in sys.path if os.path.abspath(p or os.curdir) != _HERE]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
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
        except Exception:  # a full disk, a folder that is gone: the program goes on without us
            os.environ.setdefault(_MAIN_PID, str(os.getpid()))
