"""The models and data sets that Python files name, read from their syntax tree; nothing is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agent_runner.models.assets import Asset, Kind, is_repository

# Calls whose first argument, or a keyword below, is a name on the hub; of an attribute the end counts.
_CALLS: Mapping[str, Kind] = {
    "from_pretrained": "model",
    "from_pretrained_no_processing": "model",
    "LanguageModel": "model",  # nnsight
    "load_dataset": "dataset",
    "snapshot_download": "model",
    "hf_hub_download": "model",
}
_NAME_KEYWORDS = frozenset(
    {
        *("pretrained_model_name_or_path", "model_name", "repo_id", "path", "requested"),
        *("model", "name_or_path", "hf_model_name", "openai_moniker"),
    }
)
_MODEL_NAMES = re.compile(
    r"(?:.*_)?(?:model_(?:name|id|name_or_path)|(?:lm|llm|lm_model|llm_model)_(?:name|id)|hf_model)",
    re.IGNORECASE,
)
_DATASET_NAMES = re.compile(r"(?:.*_)?(?:data_?set|corpus)_(?:name|id)", re.IGNORECASE)
_CONFIG_TABLE = re.compile(r".*MODEL.*CONFIG.*", re.IGNORECASE)
# The hub's own few names without an owner; other such names are aliases of some library, or files.
_OWNERLESS = re.compile(
    r"(?:distil)?gpt2(?:-medium|-large|-xl)?|openai-gpt|t5-(?:small|base|large|3b|11b)"
    r"|(?:distil)?bert-(?:base|large)-[a-z-]+|(?:xlm-|distil)?roberta-(?:base|large)|xlnet-[a-z-]+"
)
# What `load_dataset` takes for a form of local files.
_BUILDERS = frozenset(
    {
        *("json", "csv", "parquet", "text", "arrow", "pandas", "xml", "sql", "webdataset", "hdf5"),
        *("imagefolder", "audiofolder", "videofolder", "pdffolder", "spark", "generator"),
    }
)
_MOST_STEPS = 20_000  # of following names in one file


def named_assets(texts: Mapping[str, str]) -> tuple[Asset, ...]:
    """Models and data sets of the hub that Python files name, in the order of files and lines.

    texts: content by file. What is computed cannot be seen: only literals, names bound to one literal in the
    same file, and f-strings and sums of these. A file with errors gives nothing.
    """
    found: list[Asset] = []
    for file, text in texts.items():
        try:
            tree = ast.parse(text)
            reader = _Reader(file)
            reader.constants = _constants(tree)
            reader.read(tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        found += sorted(reader.found, key=lambda asset: asset.line or 0)
    return tuple(dict.fromkeys(found))


def _constants(tree: ast.AST) -> dict[str, list[ast.expr]]:
    """What each simple name is bound to, all over the file."""
    bound: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        for target, value in _bindings(node):
            bound.setdefault(target, []).append(value)
    return bound


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement binds, each with its value; of an attribute its last part."""
    if isinstance(node, ast.Assign):
        pairs: list[tuple[ast.expr, ast.expr]] = [(target, node.value) for target in node.targets]
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        pairs = [(node.target, node.value)]
    else:
        return
    for target, value in pairs:
        if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
            if len(target.elts) == len(value.elts):
                yield from (
                    (n, v) for t, v in zip(target.elts, value.elts, strict=True) if (n := _name(t))
                )
        elif name := _name(target):
            yield name, value


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value if isinstance(node.slice.value, str) else ""
    return ""


@dataclass
class _Reader:
    file: str
    constants: dict[str, list[ast.expr]] = field(default_factory=dict)
    found: list[Asset] = field(default_factory=list)
    steps: int = 0

    def read(self, tree: ast.AST) -> None:
        for child in ast.walk(tree):
            if isinstance(child, ast.Call):
                self._call(child)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                self._defaults(child.args)
            elif isinstance(child, ast.Dict):
                self._dictionary(child)
            else:
                for name, value in _bindings(child):
                    self._bound(name, value)

    def _call(self, call: ast.Call) -> None:
        for keyword in call.keywords:
            if keyword.arg:
                self._bound(keyword.arg, keyword.value)
        kind = self._kind_of_call(call)
        if _name(call.func) == "add_argument":
            self._argument(call)
        if kind is None:
            return
        if call.args:
            self._take(kind, call.args[0], ownerless=True)
        for keyword in call.keywords:
            if keyword.arg in _NAME_KEYWORDS:
                self._take(kind, keyword.value, ownerless=True)

    def _argument(self, call: ast.Call) -> None:
        """`add_argument("--model_name", default="...")`."""
        options = [option for each in call.args for option in self._texts(each)]
        for keyword in call.keywords:
            if keyword.arg == "default" and options:
                self._bound(options[-1].lstrip("-").replace("-", "_"), keyword.value)

    def _kind_of_call(self, call: ast.Call) -> Kind | None:
        name = _name(call.func)
        if name == "grant" and isinstance(call.func, ast.Attribute):
            return "model" if _name(call.func.value) == "models" else None
        kind = _CALLS.get(name) or ("model" if name.startswith("from_pretrained") else None)
        types = [k.value for k in call.keywords if k.arg == "repo_type"]
        if kind == "model" and any(self._texts(t) == ["dataset"] for t in types):
            return "dataset"
        return kind

    def _defaults(self, arguments: ast.arguments) -> None:
        positional = [*arguments.posonlyargs, *arguments.args]
        last = positional[len(positional) - len(arguments.defaults) :]
        pairs = [
            *zip(last, arguments.defaults, strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        for argument, value in pairs:
            if value is not None:
                self._bound(argument.arg, value)

    def _dictionary(self, table: ast.Dict) -> None:
        for key, value in zip(table.keys, table.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                self._bound(key.value, value)

    def _bound(self, name: str, value: ast.expr) -> None:
        if _CONFIG_TABLE.fullmatch(name) and isinstance(value, ast.Dict):
            for key in value.keys:
                if key is not None:
                    self._take("model", key)
        elif _MODEL_NAMES.fullmatch(name):
            self._take("model", value)
        elif _DATASET_NAMES.fullmatch(name):
            self._take("dataset", value)

    def _take(self, kind: Kind, value: ast.expr, *, ownerless: bool = False) -> None:
        for text in self._texts(value):
            if _plausible(kind, text, ownerless):
                self.found.append(Asset(kind, text, self.file, value.lineno))

    def _texts(self, value: ast.expr, depth: int = 0) -> list[str]:
        """The texts that an expression can be, as far as they are plain to see."""
        self.steps += 1
        if depth > 8 or self.steps > _MOST_STEPS:
            return []
        if isinstance(value, ast.Constant):
            return [value.value] if isinstance(value.value, str) else []
        if isinstance(value, ast.Name | ast.Attribute):
            bound = self.constants.get(_name(value), [])
            return [text for each in bound[:8] for text in self._texts(each, depth + 1)]
        if isinstance(value, ast.IfExp):
            return self._texts(value.body, depth + 1) + self._texts(value.orelse, depth + 1)
        if isinstance(value, ast.BoolOp):
            return [text for each in value.values for text in self._texts(each, depth + 1)]
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            return _joined(
                [self._texts(value.left, depth + 1), self._texts(value.right, depth + 1)]
            )
        if isinstance(value, ast.JoinedStr):
            return _joined([self._texts(part, depth + 1) for part in value.values])
        if isinstance(value, ast.FormattedValue):
            plain = value.conversion == -1 and value.format_spec is None
            return self._texts(value.value, depth + 1) if plain else []
        if isinstance(value, ast.Tuple | ast.List | ast.Set):
            return [text for each in value.elts for text in self._texts(each, depth + 1)]
        return []


def _joined(parts: list[list[str]]) -> list[str]:
    """The one text of parts that are each one text; nothing where a part is not known or is several."""
    return ["".join(part[0] for part in parts)] if all(len(part) == 1 for part in parts) else []


def _plausible(kind: Kind, text: str, ownerless: bool) -> bool:
    """Whether a text is the name of a repository: with its owner, or one of those that have none."""
    if not is_repository(text):
        return False
    if "/" in text:
        return True
    if kind == "model":
        return _OWNERLESS.fullmatch(text) is not None
    return ownerless and text not in _BUILDERS
