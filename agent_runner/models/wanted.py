"""Which files of a repository are worth fetching, and what the hub says of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runner.models.answer import RemoteFile
from agent_runner.models.assets import Kind

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo, ModelInfo
    from huggingface_hub.hf_api import RepoSibling

# The forms of weights in order of preference: the only file, or the index and the files it names.
_WEIGHTS = (
    re.compile(r"model\.safetensors"),
    re.compile(r"model\.safetensors\.index\.json|model-\d+-of-\d+\.safetensors"),
    re.compile(r"pytorch_model\.bin"),
    re.compile(r"pytorch_model\.bin\.index\.json|pytorch_model-\d+-of-\d+\.bin"),
)
# Beside the weights: configurations and tokenizers, all in the uppermost folder.
_BESIDE = re.compile(
    r"(?!.*\.index\.json$|training_args|optimizer|trainer_state|all_results|train_results|eval_results)"
    r"[^/]+\.(?:json|model|txt|jinja|tiktoken)"
)
_NOT_DATA = re.compile(r"(?:.*/)?\.git(?:attributes|ignore)")


@dataclass(frozen=True)
class Listed:
    """A repository at a commit, and its files worth fetching; for a model none where it has no weights."""

    revision: str
    gated: bool
    files: tuple[RemoteFile, ...]
    parameters: int


def wanted(kind: Kind, info: ModelInfo | DatasetInfo) -> Listed:
    """What to fetch of a repository.

    Raises:
        ValueError, TypeError: the hub's description lacks something.
    """
    siblings = info.siblings or []
    if not info.sha:
        raise ValueError("no commit")
    chosen = _of_model(siblings) if kind == "model" else _of_dataset(siblings)
    counted = getattr(info, "safetensors", None)
    return Listed(
        revision=info.sha,
        gated=bool(info.gated),
        files=tuple(_file(sibling) for sibling in chosen),
        parameters=int(counted.total) if counted is not None else 0,
    )


def _of_model(siblings: Sequence[RepoSibling]) -> list[RepoSibling]:
    for form in _WEIGHTS:
        weights = [s for s in siblings if form.fullmatch(s.rfilename)]
        if any(not s.rfilename.endswith(".json") for s in weights):
            return [s for s in siblings if _BESIDE.fullmatch(s.rfilename)] + weights
    return []


def _of_dataset(siblings: Sequence[RepoSibling]) -> list[RepoSibling]:
    return [s for s in siblings if not _NOT_DATA.fullmatch(s.rfilename)]


def _file(sibling: RepoSibling) -> RemoteFile:
    """A file by the digest of its content; the hub's own cache names contents by the same.

    Raises:
        ValueError: the name leads out of the repository, or there is no digest.
    """
    path = sibling.rfilename
    if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"a file cannot be called {path!r}")
    digest = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    size = sibling.lfs.size if sibling.lfs else sibling.size
    if not digest or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", digest) or size is None:
        raise ValueError(f"no digest of {path}")
    return RemoteFile(path=path, size=int(size), digest=digest)
