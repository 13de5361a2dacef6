"""Rows of the catalogue about what tensor libraries hand around: values, checkpoints, estimators."""

from __future__ import annotations

from agent_runner.failures.rules import Rule, row

NOT_FINITE = (
    "A number became NaN or infinite before {where}. Look for a division by something that can "
    "be zero, a log or square root of a number that can be <= 0, or too high a learning rate; "
    "add a small epsilon or clamp, and check `torch.isfinite(loss)` each step."
)
_CHECKPOINT = (
    "The checkpoint read at {where} is empty, cut off or none at all. Write it whole before it is "
    "read: save under another name and rename it with `os.replace`, and wait for what writes it."
)

OBJECTS: tuple[Rule, ...] = (
    row(
        "syntax_error",
        "SyntaxError",
        (r"\(unicode error\) '[\w-]{1,20}' codec can't decode", r"Non-UTF-8 code"),
        "The file of {where} is not saved as UTF-8, which Python reads: {code}. Write it anew as UTF-8.",
    ),
    row(
        "bad_arguments",
        "AttributeError",
        (r"'Namespace' object has no attribute '(?P<name>[^'\n]{1,100})'",),
        "The parser defines no argument `{name}`, and {where} reads it: {code}. Add it with a default "
        "(`add_argument`), or read it from where it is kept.",
    ),
    row(
        "attribute_error",
        "AttributeError",
        (
            r"'(?P<owner>DataFrame|Series|\w{0,20}Index|\w{1,20}GroupBy)' object has no attribute "
            r"'(?P<name>[^'\n]{1,100})'",
        ),
        "A pandas {owner} has no `{name}` in the installed version, as a method or as a column: {where} "
        "reads it: {code}. Use what there is (`pd.concat` for `append`), or print `.columns`.",
    ),
    row(
        "attribute_error",
        "FrozenInstanceError",
        (),
        "The dataclass whose field is set at {where} is frozen: {code}. Make a changed copy with "
        "`dataclasses.replace(...)`, or take `frozen=True` out.",
    ),
    row(
        "dtype_or_device_mismatch",
        "UFuncTypeError _UFuncOutputCastingError _UFuncInputCastingError _UFuncNoLoopError "
        "UFuncOutputCastingError UFuncInputCastingError UFuncNoLoopError",
        (),
        "The dtypes at {where} do not go together: {code}. An array changed in place (`+=`) keeps its "
        "dtype: make it one of floats, or write `a = a + b`. Text and objects cannot be computed with.",
    ),
    row(
        "attribute_error",
        "AttributeError",
        (r"'(?:Tensor|Parameter)' object has no attribute '(?P<name>[^'\n]{1,100})'",),
        "A tensor has no `{name}`, and {where} reads it from one: {code}. If it is a NumPy method, use "
        "torch's (`.to(dtype)` for `.astype`, `.clone()` for `.copy`); else another object is expected "
        "there.",
    ),
    row(
        "attribute_error",
        "AttributeError",
        (r"'numpy\.\w{1,40}' object has no attribute '(?P<name>[^'\n]{1,100})'",),
        "At {where} stands a NumPy value, which has no `{name}`: {code}. Use NumPy's own function, or "
        "make it a tensor with `torch.as_tensor`.",
    ),
    row(
        "attribute_error",
        "AttributeError",
        (r"'tuple' object has no attribute '(?P<name>[^'\n]{1,100})'",),
        "At {where} a tuple stands where one object with `{name}` is meant: {code}. What made it "
        "returns several values: take them apart (`loss, parts = ...`), or pick one by its index.",
    ),
    row(
        "attribute_error",
        "AttributeError",
        (r"'(?P<owner>float|int)' object has no attribute '(?P<name>[^'\n]{1,100})'",),
        "At {where} stands a plain {owner}, which has no `{name}`: {code}. Look for an `.item()` "
        "or `float()` before it, or a sum of no terms.",
    ),
    row(
        "value_error",
        "UnpicklingError",
        (
            r"Weights only load failed[\s\S]{0,2000}GLOBAL (?P<name>[\w.]{1,100}) was not an allowed",
            r"Weights only load failed",
        ),
        "The file loaded at {where} holds an object that the safe loader refuses, {name}. Save only "
        "tensors, numbers, strings, lists and dicts (`dataclasses.asdict(config)`); for a file this "
        "run has written itself, `weights_only=False` also does.",
    ),
    row(
        "value_error",
        "",
        (r"PytorchStreamReader failed",),
        _CHECKPOINT,
    ),
    row(
        "value_error",
        "NotFittedError",
        (),
        "The estimator at {where} was never fitted: {code}. Fit it on the training data once, keep "
        "it, and use the same object for the test data.",
    ),
    row(
        "value_error",
        "ValueError",
        (
            r"at least 2 classes",
            r"number of classes has to be greater than one",
            r"[Oo]nly one class (?:is )?present in y_true",
        ),
        "The labels at {where} are all of one class: {code}. Shuffle and split by class "
        "(`train_test_split(..., stratify=y)`), or find what removes the other class.",
    ),
)

BY_CODE: tuple[Rule, ...] = (
    row(
        "type_error",
        "TypeError",
        (r"/multiprocessing/\w{1,40}\.py: [^\n]{0,40}_ForkingPickler\.loads\(",),
        "What a worker process sent back cannot be put together again: most often an exception class of the "
        "program whose `__init__` takes other arguments than it hands to `super().__init__`. Hand on all of "
        "them, or raise a ValueError in the worker; the parent otherwise waits for ever.",
    ),
    row("non_finite_loss", "AssertionError", (r"\bis_?(?:finite|nan|inf)\b",), NOT_FINITE),
    row(
        "value_error",
        "OSError EOFError",
        (
            r"/torch/serialization\.py: [^\n]{0,200}FileReader",
            r"/torch/_weights_only_unpickler\.py: ",
        ),
        _CHECKPOINT,
    ),
    row(
        "uncaught_exception",
        "KeyboardInterrupt",
        (r": raise KeyboardInterrupt\b",),
        "The program itself raises KeyboardInterrupt at {where}, and nothing catches it: {code}. To stop "
        "early, leave the loop (`break`, `return`), so that the results are still written.",
    ),
)
"""Exceptions that say nothing by themselves, known by the line that raised them: `file: code`."""
