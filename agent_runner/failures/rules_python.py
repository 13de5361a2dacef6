"""Rows of the catalogue about Python itself, and the last resort: what an exception is by its type."""

from __future__ import annotations

from agent_runner.failures.rules import Rule, row

_NAME = r"'(?P<name>[^'\n]{1,100})'"
_NONE = (
    "Something is None at {where}: {code}. Find what should have set it: a function without "
    "`return`, an attribute that is only filled in later, or an earlier exception that kept it from "
    "being set."
)
_BUILTIN = (
    "list|tuple|dict|set|frozenset|str|bytes|bytearray|int|float|bool|complex|range|generator|map|zip|"
    "filter|enumerate|function|method|builtin_function_or_method|dict_keys|dict_values|dict_items"
)

PYTHON: tuple[Rule, ...] = (
    row(
        "syntax_error",
        "SyntaxError IndentationError TabError",
        (),
        "Python cannot read {where}: {code}. Mend the text there; the edit may have cut a bracket, a "
        "quote or the indentation.",
    ),
    row(
        "name_error",
        "NameError",
        (rf"name {_NAME} is not defined",),
        "`{name}` is used at {where} but defined nowhere in reach. Import or define it, or correct "
        "its spelling.",
    ),
    row(
        "name_error",
        "UnboundLocalError NameError",
        (
            rf"(?:local|free) variable {_NAME}",
            r"variable '(?P<name2>[^'\n]{1,100})' referenced before assignment",
        ),
        "`{name}` has no value yet at {where}. Give it one on every path before that line.",
    ),
    row(
        "attribute_error",
        "AttributeError",
        (rf"'NoneType' object has no attribute {_NAME}",),
        _NONE,
    ),
    row(
        "attribute_error",
        "AttributeError",
        (rf"partially initialized module [^\n]{{1,200}} has no attribute {_NAME}",),
        "A file beside the experiment has the name of a library and hides it. Rename that file.",
    ),
    row(
        "attribute_error",
        "AttributeError",
        (rf"module '(?P<owner>[^'\n]{{1,100}})' has no attribute {_NAME}",),
        "The module {owner} has no `{name}` in the installed version. Use what it does have at {where}. "
        "If a file or folder called {owner} stands beside the experiment, it hides the library: rename "
        "it.",
    ),
    row(
        "attribute_error",
        "AttributeError",
        (rf"'(?P<owner>{_BUILTIN})' object has no attribute {_NAME}",),
        "A plain Python {owner} has no `{name}`, and it cannot be given one, at {where}: {code}. Convert "
        "it to the type that has it (a tensor, an array), or correct what made it a {owner}.",
    ),
    row(
        "attribute_error",
        "AttributeError",
        (rf"'(?P<owner>[^'\n]{{1,100}})' object has no attribute {_NAME}",),
        "`{name}` is read from a {owner} at {where} but never set on it. Set it in that class's "
        "`__init__` (a method: define it there, or correct its name), or read it from the object that "
        "holds it (a buffer of a module is read through that module).",
    ),
    row(
        "attribute_error",
        "AttributeError",
        (r"before Module\.__init__\(\) call",),
        "Call `super().__init__()` before {where}.",
    ),
    row(
        "import_error",
        "ModuleNotFoundError ImportError",
        (r"is not a package", r"partially initialized module", r"relative import"),
        "A file beside the experiment hides the library of the same name, or two files import each "
        "other. Rename the file, or move the import that closes the circle into the function that needs "
        "it; it is reached from {where}.",
    ),
    row(
        "import_error",
        "ModuleNotFoundError",
        (r"No module named '(?P<name>[^'.\n]{1,100}\.[^'\n]{1,100})'",),
        "The installed library has no part `{name}`: it may have moved in this version. Import it "
        "from where it is now.",
    ),
    row(
        "dependency_missing",
        "ModuleNotFoundError",
        (rf"No module named {_NAME}",),
        "`{name}` is not installed, and packages cannot be added to a run. Do without it at {where}: "
        "use torch, numpy or the standard library. No file of the experiment has that name either.",
    ),
    row(
        "dependency_missing",
        "ImportError ModuleNotFoundError",
        (r"pip install", r"requires the [^\n]{1,80} library", r"not installed"),
        "A package that {where} needs is not installed, and packages cannot be added to a run. Do "
        "without it.",
    ),
    row(
        "import_error",
        "ImportError",
        # A path that is no library's: the module is a file of the worktree.
        (
            rf"cannot import name {_NAME} from '(?P<owner>[^'\n]{{1,100}})' \("
            r"(?![^)\n]{0,400}(?:site-packages|dist-packages|lib/python3))(?:[^)\n]{0,400}[/\\])?"
            r"(?P<file>[^/\\)\n]{1,100}\.py)\)",
        ),
        "`{name}` is not in the file {file} beside the experiment. If the library `{owner}` is meant at "
        "{where}, the file hides it from every import: Rename the file. Otherwise import a name that the "
        "file has.",
    ),
    row(
        "import_error",
        "ImportError",
        (rf"cannot import name {_NAME}",),
        "`{name}` is not in that module in the installed version. Correct the import at {where}.",
    ),
    row(
        "import_error",
        "",
        (
            r"operator \S{1,80} does not exist",
            r"cannot open shared object file",
            r"undefined symbol",
        ),
        "Installed libraries do not fit together. Nothing in the method causes this unless it added "
        "the import at {where}; an operator has to mend the environment.",
    ),
    row(
        "type_error",
        "TypeError",
        (r"'NoneType' object is not", r"'NoneType' and", r"and 'NoneType'"),
        _NONE,
    ),
    row(
        "type_error",
        "TypeError",
        (
            r"(?P<owner>[^\s(]{1,100})\(\) got an unexpected keyword argument '(?P<name>[^'\n]{1,100})'",
            r"(?P<owner2>[^\s(]{1,100})\(\) missing \d{1,4} required",
            r"(?P<owner3>[^\s(]{1,100})\(\) takes ",
            r"(?P<owner4>[^\s(]{1,100})\(\) got multiple values",
        ),
        "The call of {owner} at {where} does not fit its definition. Change the two together; the "
        "locked files call it as the template defined it.",
    ),
    row(
        "type_error",
        "TypeError",
        (r"is not JSON serializable",),
        "A result at {where} is not plain data. Before they are written, turn tensors and arrays into "
        "numbers with `.item()`, `float()` or `.tolist()`, sets into sorted lists, paths and objects "
        "into text or dicts.",
    ),
    row(
        "type_error",
        "TypeError",
        (
            r"Can't instantiate abstract class (?P<owner>\w{1,100}) with(?:out an implementation for)? "
            r"abstract methods? (?P<name>[^\n]{1,200})",
        ),
        "The base class of {owner} asks for {name}, which {owner} does not define (under that name). "
        "Define it there.",
    ),
    row(
        "type_error",
        "",
        (
            r"Can't pickle (?:local object )?(?P<name>\S[^\n]{0,150})",
            r"cannot pickle (?P<name2>[^\n]{1,150}) object",
            r"Can't get (?:local )?attribute (?P<name3>[^\n]{1,150}) on <module",
        ),
        "{name} cannot be handed to another process or saved, as {where} does. Functions and classes "
        "must stand at the top level of a file (no lambda, none inside a function); locks, generators "
        "and open files are made by the worker itself.",
    ),
    row(
        "type_error",
        "BeartypeCallHintParamViolation BeartypeCallHintReturnViolation",
        (),
        "The argument at {where} has another type than its function declares.",
    ),
    row(
        "value_error",
        "ValueError",
        (r"not enough values to unpack", r"too many values to unpack"),
        "The number of names and of values differ at {where}: {code}. If a shape is unpacked there, "
        "the tensor has more or fewer dimensions than expected.",
    ),
    row(
        "value_error",
        "ValueError",
        (r"mutable default [^\n]{1,100} for field (?P<name>\w{1,100}) is not allowed",),
        "All objects of the dataclass at {where} would share the default of `{name}`. Write it as "
        "`field(default_factory=lambda: [...])`, or use a tuple.",
    ),
    row(
        "value_error",
        "UnicodeDecodeError",
        (),
        "What is read at {where} is not text in that encoding. Give `open` or `read_text` the true one "
        '(`encoding="latin-1"`), or `errors="replace"`; read binary files with mode `rb`.',
    ),
    row(
        "runtime_error",
        "RuntimeError",
        (r"(?:generator|coroutine) raised Stop(?:Async)?Iteration",),
        "The data ran out inside a generator, at {where}: {code}. Give `next()` a default and return "
        "when it comes, or start the data anew; fewer steps also need fewer data.",
    ),
    row(
        "runtime_error",
        "RuntimeError",
        (r"before the\s{1,40}current process has finished its bootstrapping phase",),
        "A spawned worker imports the program anew and reaches {where} again. Put everything that is not "
        'a definition under `if __name__ == "__main__":`.',
    ),
    row(
        "runtime_error",
        "RuntimeError",
        (r"(?:dictionary changed size|dictionary keys changed|Set changed size) during iteration",),
        "What is walked at {where} is changed inside the loop: {code}. Walk a copy of it: `list(...)`.",
    ),
    row(
        "killed_by_signal",
        "CalledProcessError",
        (r"died with <Signals\.(?P<name>SIG\w{1,20})",),
        "The command started at {where} was ended by {name}. SIGKILL is mostly the kernel's, for memory: "
        "give the command less work at once; another signal is the command's own crash.",
    ),
    row(
        "os_error",
        "EOFError",
        (r"EOF when reading a line",),
        "Nobody can answer at a keyboard: there is none in a run, so nobody will. Take out the `input()` "
        "at {where} and decide in the program.",
    ),
    row(
        "uncaught_exception",
        "BdbQuit",
        (),
        "A debugger was started and nobody can use it in a run. Take out the `breakpoint()` (or "
        "`pdb.set_trace()`) before {where}, and print what you want to know.",
    ),
    row(
        "os_error",
        "TimeoutError Empty Full",
        (r"^$",),
        "The program's own limit for the wait at {where} ran out: {code}. Find why what it waits for is "
        "late or never comes (a worker that is slow or has ended), or wait longer.",
    ),
    row(
        "permission_denied",
        "PermissionError",
        (r"^\[Errno 13\] Permission denied$",),
        "No path is named, so {where} does not ask for a file by name: {code}. A file opened for reading "
        "is used for writing there (`mmap` maps for both unless it is given `access=mmap.ACCESS_READ`), "
        "or a port or a device is not allowed.",
    ),
    row(
        "recursion_error",
        "RecursionError",
        (),
        "The calls through {where} have no end: a property that reads itself, `__getattr__` on a missing "
        "attribute, functions that call each other, or a circle in the data. Give the recursion an end.",
    ),
    row(
        "zero_division",
        "ZeroDivisionError",
        (),
        "The divisor at {where} is zero: {code}. Guard it with `max(x, 1)` or an epsilon, and ask "
        "why it is zero (no training step, an empty batch).",
    ),
)

BY_TYPE: tuple[Rule, ...] = (
    row("name_error", "NameError UnboundLocalError", (), "Define the name before {where}."),
    row("attribute_error", "AttributeError", (), "Set the attribute before it is read at {where}."),
    row(
        "dependency_missing",
        "ModuleNotFoundError",
        (),
        "The module imported at {where} is not installed; do without it.",
    ),
    row(
        "import_error",
        "ImportError",
        (),
        "The import at {where} fails in the installed versions; correct it.",
    ),
    row(
        "assertion",
        "AssertionError",
        (),
        "The check at {where} does not hold: {code}. Print the values it compares and mend what makes "
        "them differ; do not take the check out.",
    ),
    row(
        "key_error",
        "KeyError",
        (),
        "The key is not in the dictionary at {where}: {code}. Print its keys and correct the name.",
    ),
    row(
        "index_error",
        "IndexError",
        (),
        "An index at {where} lies outside the list or tensor: {code}. Check its length.",
    ),
    row(
        "type_error",
        "TypeError",
        (),
        "A value at {where} has the wrong type: {code}. Convert it, or pass what the function takes.",
    ),
    row(
        "value_error",
        "ValueError UnicodeDecodeError UnicodeEncodeError JSONDecodeError OverflowError UnpicklingError "
        "TOMLDecodeError EmptyDataError ParserError InvalidParameterError ArrowInvalid BadZipFile",
        (),
        "A value at {where} is not one the function accepts: {code}. Print it and correct it.",
    ),
    row(
        "not_implemented",
        "NotImplementedError",
        (),
        "{where} calls what is not implemented. Write it, or use what is.",
    ),
    row(
        "file_not_found",
        "FileNotFoundError NotADirectoryError",
        (),
        "The file at {where} does not exist in the run. Read only files of the template or those the "
        "run itself has written, under the name they were written with.",
    ),
    row(
        "permission_denied",
        "PermissionError",
        (),
        "The run may not do this at {where}. Write only below the folder given as --out_dir.",
    ),
    row(
        "network_unavailable",
        "ConnectionError ConnectionRefusedError ConnectError ReadTimeout URLError MaxRetryError "
        "HTTPError HfHubHTTPError",
        (),
        "The run cannot reach the network. Take out the download at {where} and use what the template "
        "has prepared.",
    ),
    row(
        "subprocess_failed",
        "CalledProcessError TimeoutExpired",
        (),
        "The command started at {where} failed; what it printed says why. Mend that, or do the work in "
        "Python. Where its output is captured, print the exception's `stdout` and `stderr`.",
    ),
    row(
        "killed_by_signal",
        "BrokenProcessPool KeyboardInterrupt",
        (),
        "A process was stopped from outside at {where}. If it was a worker, use fewer workers or less memory.",
    ),
    row(
        "os_error",
        "OSError IOError EnvironmentError TimeoutError EOFError BrokenPipeError ConnectionResetError "
        "IsADirectoryError FileExistsError BlockingIOError ChildProcessError ProcessLookupError",
        (),
        "The operating system refused an operation at {where}: {code}. Read the message and mend its cause.",
    ),
    row(
        "uncaught_exception",
        "StopIteration StopAsyncIteration",
        (),
        "The data ran out at {where}: {code}. Give `next()` a default, start the data anew when it ends, "
        "or take fewer steps.",
    ),
    row(
        "runtime_error",
        "RuntimeError Exception",
        (),
        "Read the message and mend its cause at {where}: {code}.",
    ),
)
