"""Templates and ideas: what is to be run, and what it may use."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from agent_runner.records.base import SCHEMA_VERSION, Record


class Limits(Record):
    """What one run may use. `None` means: no limit of ours."""

    time_s: float = 3 * 3600.0
    no_output_s: float | None = None
    soft_deadline_s: float | None = None  # the script gets a signal this long before `time_s` ends
    memory_mb: int | None = None
    disk_mb: int | None = None
    output_bytes: int = (
        16 * 1024 * 1024
    )  # kept of each stream: half from its head, half from its tail
    processes: int | None = None


class Grants(Record):
    """What a run may reach beside its own folder. `gpus` may be a fraction of one."""

    gpus: float = Field(default=0, ge=0)
    network: bool = False


class SandboxRule(Record):
    """The least level of isolation that a template's runs must have."""

    require_level: Literal["L0", "L1", "L2", "L3"] = "L0"


class Step(Record):
    """A trusted command of the template beside its main one: `prepare`, `preflight` or `smoke`."""

    command: str
    env: dict[str, str] = Field(default_factory=dict)
    time_s: float = 300.0
    network: bool = (
        False  # also where runs have none: for `prepare`, which reads data sets of the hub
    )


class ModelSpec(Record):
    """A language model the template can use, in order of preference, and what it needs to be run.

    parameters: count of weights; 0 where that is unknown.
    path: a folder inside the template, for a model that is shipped with it.
    needs_gpu: not to be run without one, though it may fit.
    corpus, datasets: names on the hub, or paths inside the template.
    cpu: settings that hold instead where there is no GPU.
    """

    name: str
    dtype: str = "float32"
    parameters: int = 0
    path: str | None = None
    needs_gpu: bool = False
    d_model: int = 0
    batch_size: int = 1
    context_length: int = 0
    corpus: str = ""
    datasets: str | tuple[str, ...] = ()
    cpu: dict[str, Any] = Field(default_factory=dict)


MAX_SEED_OFFSETS = 20


def _few_and_distinct(offsets: tuple[int, ...]) -> tuple[int, ...]:
    """Two runs with the same seeds are one measurement, and would make the scatter look smaller than it is."""
    if not 1 <= len(offsets) <= MAX_SEED_OFFSETS:
        raise ValueError(
            f"{len(offsets)} numbers, where 1 to {MAX_SEED_OFFSETS} are to be given; where noise is not to be "
            "measured, leave out the whole table"
        )
    repeated = sorted({offset for offset in offsets if offsets.count(offset) > 1})
    if repeated:
        raise ValueError(
            f"{', '.join(map(str, repeated))} given more than once: equal seeds measure no scatter"
        )
    return offsets


# 0 would be the baseline itself; a negative one may make a seed negative, which NumPy refuses.
SeedOffset = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]


class NoiseStep(Record):
    """How the noise floor of a baseline is measured: the template's command again, with other seeds.

    seeds: what is added to every seed of the template, one run for each: 1 to 20 distinct numbers.
    """

    seeds: Annotated[tuple[SeedOffset, ...], AfterValidator(_few_and_distinct)] = (1, 2, 3)


class Template(Record):
    """A folder that keeps the contract `python experiment.py --out_dir=run_i` -> `run_i/final_info.json`."""

    name: str
    description: str = ""
    command: str = "python experiment.py --out_dir={out_dir}"
    editable: tuple[str, ...]
    locked: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    limits: Limits = Limits()
    resources: Grants = Grants()
    sandbox: SandboxRule = SandboxRule()
    prepare: Step | None = None
    preflight: Step | None = None
    smoke: Step | None = None
    noise: NoiseStep | None = None
    models: tuple[ModelSpec, ...] = ()


class Idea(Record):
    """One research idea, in its own git worktree."""

    schema_version: int = SCHEMA_VERSION
    id: str
    title: str
    plan: str = ""
    template: Template
    base_commit: str  # the template as committed: what every diff "against baseline" refers to
    base_tree: str
    max_runs: int = 10
    sandbox: str = "auto"  # the level its runs are to have; `auto`: the highest that works
    models: tuple[
        str, ...
    ] = ()  # which of the template's models it may use; none named: all of them
    fallback: bool = True  # whether another model may take the place of one that cannot be used
    created: str
