"""Who may use which GPU or CPU slot, and when: shared by all server processes of a home, whoever dies."""

from agent_runner.leases.desk import (
    Cancelled,
    DeskState,
    LeaseDesk,
    WaitEnded,
    default_cpu_slots,
)
from agent_runner.leases.gpus import Gpu, Survey, discover, survey
from agent_runner.leases.health import GpuState, Holder
from agent_runner.leases.lease import Lease, Monitor
from agent_runner.leases.remembered import Quarantined

__all__ = [
    "Cancelled",
    "DeskState",
    "Gpu",
    "GpuState",
    "Holder",
    "Lease",
    "LeaseDesk",
    "Monitor",
    "Quarantined",
    "Survey",
    "WaitEnded",
    "default_cpu_slots",
    "discover",
    "survey",
]
