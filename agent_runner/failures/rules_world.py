"""Rows of the catalogue about what lies outside the program: what it loads, memory, disk, the GPU itself."""

from __future__ import annotations

from agent_runner.failures.rules import Rule, row
from agent_runner.failures.rules_hub import HUB

_GPU_MEMORY = (
    "The GPU has too little memory left for {where}. Lower the batch size, the dictionary size or "
    "what is kept for backward (detach what is only logged), and free tensors no longer needed."
)
_HOST_MEMORY = (
    "The program needs more host memory than it may have. At {where}, make smaller batches, do not "
    "keep whole datasets or every step's tensors in a list, and store activations in half precision."
)
_DISK = (
    "The disk ran out of space at {where}. Nothing in the method causes this unless it writes large "
    "files: an operator has to free space, then the same proposal can be sent again."
)
_DISK_LIMIT = (
    "The run wrote more than it may. Save fewer or smaller files at {where}: no checkpoint per step, "
    "no raw activations, only what the results need."
)

_MACHINE_ROWS: tuple[Rule, ...] = (
    row(
        "cuda_out_of_memory",
        "",
        (
            r"(?:CUDA|HIP|MPS backend|XPU) out of memory",
            r"CUDA error: out of memory",
            r"CUBLAS_STATUS_ALLOC_FAILED",
            r"CUDNN_STATUS_ALLOC_FAILED",
        ),
        _GPU_MEMORY,
    ),
    row("cuda_out_of_memory", "OutOfMemoryError", (), _GPU_MEMORY),
    row(
        "gpu_fault",
        "",
        (
            r"uncorrectable ECC error",
            r"CUDA-capable device\(s\) is/are busy or unavailable",
            r"CUDA error: (?:unspecified launch failure|hardware stack error)",
            r"CUDA driver version is insufficient",
            r"system has unsupported display driver",
        ),
        "The GPU or its driver is at fault, not the method. Send the same proposal again; if it "
        "returns, an operator has to look at the machine.",
    ),
    row(
        "cuda_unavailable",
        "",
        (
            r"Torch not compiled with CUDA enabled",
            r"No CUDA GPUs are available",
            r"Found no NVIDIA driver",
            r"no CUDA-capable device is detected",
            r"Attempting to deserialize object on a CUDA device",
        ),
        "The run has no GPU, and {where} asks for one by name. Use the device of the tensors at hand "
        "(`x.device`), and `map_location` when loading.",
    ),
    row(
        "cuda_error",
        "",
        (r"device-side assert triggered",),
        "An operation on the GPU was given an index or a class label outside its range; the line "
        "shown may be later than the true one. Check the ranges of all indices used near {where}.",
    ),
    row(
        "cuda_error",
        "AcceleratorError",
        (),
        "The GPU refused an operation near {where}; as it works asynchronously the true line may be "
        "earlier. Check indices, shapes and in-place writes before that line.",
    ),
    row(
        "cuda_error",
        "",
        (r"CUDA error: ", r"CUBLAS_STATUS_\w{1,40}", r"CUDNN_STATUS_\w{1,40}", r"NCCL error"),
        "The GPU refused an operation near {where}; as it works asynchronously the true line may be "
        "earlier. Check indices, shapes and in-place writes before that line.",
    ),
    row(
        "host_out_of_memory",
        "",
        (
            r"out of shared memory",
            r"insufficient shared memory",
            r"unable to open shared memory object",
            r"killed by signal: Bus error",
        ),
        "Workers ran out of shared memory. Use fewer data-loader workers (0 is safe) or smaller "
        "batches at {where}.",
    ),
    row("host_out_of_memory", "MemoryError _ArrayMemoryError ArrayMemoryError", (), _HOST_MEMORY),
    row(
        "host_out_of_memory",
        "",
        (
            r"DefaultCPUAllocator: (?:can't|not enough)",
            r"Unable to allocate [\d.]{1,20} \S{1,10} for an array",
            r"std::bad_alloc",
            r"\[Errno 12\]",
            r"Cannot allocate memory",
        ),
        _HOST_MEMORY,
    ),
    row("disk_full", "", (r"No space left on device", r"\[Errno 28\]"), _DISK),
    row("disk_full", "", (r"PytorchStreamWriter failed writing file",), _DISK),
    row("disk_limit", "", (r"Disk quota exceeded", r"\[Errno 27\]", r"\[Errno 122\]"), _DISK_LIMIT),
    row(
        "process_limit",
        "",
        (r"can't start new thread", r"Resource temporarily unavailable", r"Too many open files"),
        "The program starts more processes or threads, or opens more files, than it may. Use fewer "
        "workers and close files at {where}.",
    ),
    row(
        "segfault",
        "",
        (r"DataLoader worker[^\n]{0,60} is killed by signal: Segmentation fault",),
        "Compiled code that a data-loader worker called touched memory it does not own. Look in the "
        "dataset's `__getitem__` for ctypes, `as_strided` or a native library; with `num_workers=0` at "
        "{where} the crash names its line.",
    ),
    row(
        "killed_by_signal",
        "",
        (
            r"DataLoader worker[^\n]{0,60} (?:is killed by signal|exited unexpectedly)",
            r"terminated abruptly while the future was running",
        ),
        "A worker process was killed, most often for memory. Use fewer workers (0 is safe) and "
        "smaller batches at {where}.",
    ),
    row(
        "permission_denied",
        "",
        (r"Read-only file system", r"\[Errno 30\]"),
        "Only the folder given as --out_dir may be written. Change the path at {where} to one below it.",
    ),
)

WORLD: tuple[Rule, ...] = (*HUB, *_MACHINE_ROWS)
