"""How much memory a model takes, and whether this machine has it."""

from __future__ import annotations

from agent_runner.models.machine import Machine
from agent_runner.records import ModelSpec

BYTES_PER_VALUE = {
    "float64": 8,
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "float8_e4m3fn": 1,
    "int8": 1,
}
# Loading holds the weights once more for a moment in part.
LOAD_FACTOR = 1.5
# Values held at once per token and width, in one layer without gradients: the residual stream and its norm
# (2), queries, keys, values and what attention gives (4), scores and patterns (2, where the context is as
# long as a head is wide), the MLP before and after its nonlinearity (8). No logits: they are not computed.
ACTIVATIONS_PER_VALUE = 16

_GIB = 2**30


def effective(spec: ModelSpec, machine: Machine) -> ModelSpec:
    """The settings that hold on this machine: those for the CPU where there is no GPU."""
    if machine.gpu_free_bytes is not None or not spec.cpu:
        return spec
    merged = spec.model_dump() | {k: v for k, v in spec.cpu.items() if k in ModelSpec.model_fields}
    try:
        return ModelSpec.model_validate(merged | {"name": spec.name, "cpu": spec.cpu})
    except ValueError:
        return spec  # settings of no use; the template's own reader says so


def memory_bytes(spec: ModelSpec, *, weight_bytes: int = 0) -> int:
    """Bytes that running a model takes: its weights while they are loaded, and one batch of activations.

    weight_bytes: of the weights as stored, for a spec that does not say how many there are.
    """
    width = BYTES_PER_VALUE.get(spec.dtype, 4)
    weights = spec.parameters * width or weight_bytes
    activations = spec.batch_size * spec.context_length * spec.d_model * ACTIVATIONS_PER_VALUE
    return int(weights * LOAD_FACTOR) + activations * width


def obstacle(spec: ModelSpec, needed: int, machine: Machine) -> str | None:
    """Why a model that needs so many bytes does not fit; None where it does, or where that is not known."""
    on_gpu = machine.gpu_free_bytes is not None
    free = machine.gpu_free_bytes if on_gpu else machine.free_memory_bytes
    if free is None or needed <= free:
        return None
    count, unit = (9, "billion") if spec.parameters >= 10**9 else (6, "million")
    weights = f"{spec.parameters / 10**count:.1f} {unit} weights in {spec.dtype}"
    batch = f"a batch of {spec.batch_size} x {spec.context_length} tokens"
    parts = [weights] * bool(spec.parameters) + [batch] * bool(spec.context_length)
    what = f" ({', '.join(parts)})" if parts else ""
    return (
        f"it needs about {_gib(needed)} of {'GPU ' if on_gpu else ''}memory{what}, "
        f"and {_gib(free)} are free"
    )


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"


def amount(size: int) -> str:
    """Bytes in words: `1.2 GiB`, `166 MiB`, `12 KiB`, `7 bytes`."""
    if size >= _GIB:
        return _gib(size)
    if size >= 2**20:
        return f"{size / 2**20:.0f} MiB"
    return f"{size / 2**10:.0f} KiB" if size >= 2**10 else f"{size} bytes"
