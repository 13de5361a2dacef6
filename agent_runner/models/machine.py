"""What of this machine decides whether a model can be used: memory, disk, the hub's cache and the token."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from agent_runner.models.memory import available_memory, free_gpu_memory

DEFAULT_ENDPOINT = "https://huggingface.co"

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


@dataclass(frozen=True)
class Machine:
    """A machine as models see it.

    gpu_free_bytes: of the GPU that a run would get; None where there is none.
    downloads: whether models may be fetched. offline: the hub is not to be asked at all.
    """

    hub_cache: Path
    free_memory_bytes: int | None
    gpu_free_bytes: int | None = None
    free_disk_bytes: int | None = None
    downloads: bool = True
    endpoint: str = DEFAULT_ENDPOINT
    token: str | None = field(default=None, repr=False)
    offline: bool = False

    @classmethod
    def here(
        cls, *, downloads: bool = True, environment: Mapping[str, str] | None = None
    ) -> Machine:
        """This machine now. The hub's endpoint, token and cache are found by the rules of `huggingface_hub`."""
        env = os.environ if environment is None else environment
        cache = hub_cache(env)
        return cls(
            hub_cache=cache,
            free_memory_bytes=available_memory(),
            gpu_free_bytes=free_gpu_memory(env),
            free_disk_bytes=free_disk(cache),
            downloads=downloads,
            endpoint=(env.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/"),
            token=hub_token(env),
            offline=_is_true(env.get("HF_HUB_OFFLINE") or env.get("TRANSFORMERS_OFFLINE")),
        )

    @property
    def host(self) -> str:
        """The endpoint in messages: without its scheme, and without a password that it may hold."""
        parts = urlsplit(self.endpoint)
        name = parts.netloc.rpartition("@")[2] or self.endpoint
        return name + parts.path if parts.netloc else name

    @property
    def shown_endpoint(self) -> str:
        """The endpoint as the beginning of an address, without a password that it may hold."""
        return f"{urlsplit(self.endpoint).scheme or 'https'}://{self.host}"


def hub_cache(environment: Mapping[str, str]) -> Path:
    """The folder of downloaded models and data sets, by the rules of `huggingface_hub`."""
    named = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    return _path(named) if named else _hub_home(environment) / "hub"


def hub_token(environment: Mapping[str, str]) -> str | None:
    """The token that `huggingface_hub` would send: from the environment, else of the stored login.

    A stored login that has expired is not renewed here; the hub then says that the token is not valid.
    """
    if _is_true(environment.get("HF_HUB_DISABLE_IMPLICIT_TOKEN")):
        return None
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := _clean(environment.get(name, "")):
            return token
    named = environment.get("HF_TOKEN_PATH")
    path = _path(named) if named else _hub_home(environment) / "token"
    try:
        return _clean(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def free_disk(folder: Path) -> int | None:
    """Bytes that can be written below a folder, which need not be there yet; None where unknown."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def _hub_home(environment: Mapping[str, str]) -> Path:
    if named := environment.get("HF_HOME"):
        return _path(named)
    base = environment.get("XDG_CACHE_HOME")
    return (_path(base) if base else Path("~/.cache").expanduser()) / "huggingface"


def _path(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser()


def _clean(token: str) -> str | None:
    return token.replace("\r", "").replace("\n", "").strip() or None


def _is_true(value: str | None) -> bool:
    return (value or "").upper() in _TRUE
