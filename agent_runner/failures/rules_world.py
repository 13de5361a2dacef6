"""Rows of the catalogue about what lies outside the program: models, data, network, memory, disk."""

from __future__ import annotations

from agent_runner.failures.rules import Rule, row

_MODEL = (
    "Nothing about the method is wrong: ask for a model that this machine has. The template's own "
    "models, and what may stand in for {name}, are listed in its template.toml."
)
_DATA = (
    "The data cannot be had here, whatever the method does. Keep the dataset names of the template "
    "and use the data it has prepared; take out a download that was added at {where}."
)
_NETWORK = (
    "The run cannot reach the network. Use what the template has prepared (models, activations, "
    "data) and take out any download that was added at {where}."
)
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

_DATASET_ROWS: tuple[Rule, ...] = (
    row(
        "dataset_unavailable",
        "DatasetNotFoundError DataFilesNotFoundError DatasetGenerationError "
        "DatasetsError MissingSplitError",
        (),
        _DATA,
    ),
    row(
        "dataset_unavailable",
        "",
        (
            r"Dataset '?(?P<name>[^'\s]{1,120})'? (?:doesn't exist on the Hub|is a gated dataset)",
            r"Couldn't reach '(?P<name2>[^']{1,120})' on the Hub",
            r"Couldn't reach the Hugging Face Hub for dataset",
            r"Couldn't find (?:a dataset script|any data file|file at)",
            r"Dataset \S{1,120} is not cached",
            r"/datasets/\S{1,200}\s{0,3}(?:is forbidden|not found)",
        ),
        _DATA,
    ),
)

_MODEL_ROWS: tuple[Rule, ...] = (
    row("gated_model", "GatedRepoError", (), _MODEL),
    row(
        "gated_model",
        "",
        (
            r"You are trying to access a gated repo[^\n]{0,20}(?:\n[^\n]{0,80}"
            r"huggingface\.co/(?P<name>[\w.-]{1,96}/[\w.-]{1,96}[\w-]))?",
            r"Cannot access gated repo",
            r"Access to model (?P<name2>\S{1,120}) is restricted",
        ),
        _MODEL,
    ),
    row(
        "model_not_found",
        "RepositoryNotFoundError RevisionNotFoundError HFValidationError",
        (),
        "There is no such model. Check the name (the program may have added a suffix such as `-it` "
        "to it) and use one of the template's models.",
    ),
    row(
        "model_not_found",
        "",
        (
            r"(?P<name>[^\s'\"]{1,120}) not found\.? Valid (?:official )?model names",
            r"(?P<name2>[^\s'\"]{1,120}) is not a local folder and is not a valid model identifier",
            r"Can't load (?:tokenizer|the configuration|the model|config|image processor|feature extractor)"
            r"\b[^\n]{0,20} for '(?P<name3>[^']{1,120})'",
            r"Can't load the configuration of '(?P<name4>[^']{1,120})'",
            r"Repository Not Found for url",
            r"Repo id must be in the form",
            r"Repo id must use alphanumeric",
            r"does not appear to have a file named",
        ),
        "The model {name} is not known here. Check the name (the program may have added a suffix "
        "such as `-it` to it) and use one of the template's models.",
    ),
)

_NETWORK_ROWS: tuple[Rule, ...] = (
    row(
        "network_unavailable",
        "LocalEntryNotFoundError OfflineModeIsEnabled ProxyError ConnectTimeout gaierror "
        "NewConnectionError NameResolutionError SSLError",
        (),
        _NETWORK,
    ),
    row(
        "network_unavailable",
        "",
        (
            r"We couldn't connect to '",
            r"offline mode is enabled",
            r"outgoing traffic has been disabled",
            r"Max retries exceeded with url",
            r"Name or service not known",
            r"nodename nor servname provided",
            r"Temporary failure in name resolution",
            r"Network is unreachable",
            r"No route to host",
            r"Tunnel connection failed",
            r"CERTIFICATE_VERIFY_FAILED",
            r"\b(?:429|50[0234]) (?:Client|Server) Error",
        ),
        _NETWORK,
    ),
    # After the proxies' own 403 above: what is left of these codes is the model hub's refusal.
    row(
        "gated_model",
        "HTTPError HfHubHTTPError HTTPStatusError OSError EnvironmentError",
        (r"\b40[13] Client Error", r"Client error '40[13]"),
        _MODEL,
    ),
    row(
        "model_not_found",
        "HTTPError HfHubHTTPError HTTPStatusError RemoteEntryNotFoundError EntryNotFoundError",
        (r"\b404 Client Error", r"Client error '404"),
        "What was asked for at {where} does not exist under that name. Check the name.",
    ),
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

WORLD: tuple[Rule, ...] = (*_DATASET_ROWS, *_MODEL_ROWS, *_NETWORK_ROWS, *_MACHINE_ROWS)
