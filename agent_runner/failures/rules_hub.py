"""Rows of the catalogue about what a program loads: models, tokenizers, datasets, and downloads."""

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
_NOT_CACHED = (
    "What is loaded at {where} is not on this machine, and the run cannot reach the network. Use the "
    "models and data that the template has prepared. If the name is a folder that the run should have "
    "written, that folder is missing: check its path."
)
_TRACKER = (
    "A run has no account with an outside service and cannot reach it. At {where} switch it off "
    '(`wandb.init(mode="disabled")`) or take it out; what counts is written to `final_info.json`.'
)

# The first paragraph of a hub's refusal is its status alone; what was refused stands below.
_SAYS_MORE = r"\A(?!\d{3} Client Error\.[^\n]{0,120}\Z)"

_DATASET_ROWS: tuple[Rule, ...] = (
    row(
        "dataset_unavailable",
        "DatasetNotFoundError DataFilesNotFoundError DatasetsError",
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
            r"Couldn't find '(?P<name3>[^']{1,120})' on the Hugging Face Hub",
            r"Couldn't find file at https?://",
            r"Dataset \S{1,120} is not cached",
            r"Access to dataset (?P<name4>\S{1,120}) is restricted",
            r"/datasets/\S{1,200}\s{0,3}(?:is forbidden|not found)",
        ),
        _DATA,
    ),
    row(
        "dataset_unavailable",
        "",
        (r"Couldn't find (?:a dataset script|any data file) at (?P<name>\S{1,300}[^\s.])",),
        "There is no data at {name}. Use the data that the template has prepared; if the run itself "
        "should have written it, make sure that it has before {where}, under the same path.",
    ),
    row(
        "file_not_found",
        "EmptyDatasetError",
        (),
        "The folder read at {where} holds no data files. Read only data that the template has "
        "prepared or the run itself has written.",
    ),
    row(
        "value_error",
        "ValueError MissingSplitError",
        (
            r"Unknown split [\"'](?P<name>[^\"'\n]{1,100})",
            r"BuilderConfig '(?P<name2>[^'\n]{1,100})' not found",
            r"Config name is missing",
        ),
        "The data read at {where} has no such split or configuration; the message lists those it "
        "has. Use one of them, or split one with `train_test_split`.",
    ),
    # Why a dataset could not be built stands in the cause of a DatasetGenerationError, not in itself.
    row(
        "value_error",
        "ArrowInvalid ParserError",
        (
            r"(?:JSON|CSV) parse error",
            r"Parquet magic bytes not found",
            r"Error tokenizing data",
        ),
        "A data file read at {where} is not in the format it is read as. If the run wrote it, mend "
        "the writing: one `json.dumps(row)` per line for JSON lines, `to_parquet` for parquet.",
    ),
)

_MODEL_ROWS: tuple[Rule, ...] = (
    row(
        "gated_model",
        "",
        (
            r"Access to model (?P<name>\S{1,120}) is restricted",
            r"You are trying to access a gated repo[^\n]{0,20}(?:\n[^\n]{0,80}"
            r"huggingface\.co/(?P<name2>[\w.-]{1,96}/[\w.-]{1,96}[\w-]))?",
            r"Cannot access gated repo(?: for url \w{1,10}://[^/\s]{1,100}/"
            r"(?P<name3>[\w.-]{1,96}/[\w.-]{1,96})/resolve/)?",
        ),
        _MODEL,
    ),
    row("gated_model", "GatedRepoError", (_SAYS_MORE,), _MODEL),
    row(
        "model_not_found",
        "",
        (
            r"(?P<name>\S{1,120}) is not a valid git identifier",
            r"Invalid rev id: (?P<name2>\S{1,120})",
        ),
        "The model asked for at {where} has no revision (branch, tag or commit) `{name}`. Leave "
        "`revision` out, or use one that the model has.",
    ),
    row(
        "model_not_found",
        "",
        (r"Entry Not Found for url: \S{1,300}/resolve/[^/\s]{1,100}/(?P<name>\S{1,200}[^\s.])",),
        "The repository asked for at {where} exists, but holds no file `{name}`. Correct the file's "
        "name, or do without the file.",
    ),
    # A relative name of more parts than a repository's has was meant as a folder of the run's own.
    row(
        "file_not_found",
        "",
        (
            r"Repo id must [^\n]{1,120}: '(?P<name>\.{1,2}/[^'\n]{0,300})'",
            r"Repo id must [^\n]{1,120}: '(?P<name2>[^'/\n]{1,200}/[^'/\n]{1,200}/[^'\n]{1,300})'",
        ),
        "There is no folder `{name}` (so it was taken for a model of the hub). Make sure that the run "
        "has written it before {where}, under the same path.",
    ),
    row(
        "file_not_found",
        "ValueError",
        (r"Couldn't instantiate the backend tokenizer",),
        "What is loaded at {where} holds no tokenizer that can be read, most often because "
        "`tokenizer.json` is missing: save the tokenizer itself with `save_pretrained`. Only where a "
        "`tokenizer.model` is there does the advice to install a package apply.",
    ),
    row(
        "model_not_found",
        "RepositoryNotFoundError RevisionNotFoundError HFValidationError",
        (_SAYS_MORE,),
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
            r"Repo id must be in the form[^\n]{1,80}: '(?P<name5>[^'\n]{1,300})'",
            r"Repo id must (?:be in the form|use alphanumeric)",
            r"does not appear to have a file named",
        ),
        "The model {name} is not known here. Check the name (the program may have added a suffix "
        "such as `-it` to it) and use one of the template's models.",
    ),
    row(
        "value_error",
        "OSError EnvironmentError SafetensorError",
        (
            r"the config file at '(?P<name>[^'\n]{1,300})' is not a valid JSON file",
            r"(?i:while deserializing header)",
            r"Unable to load weights from [^\n]{1,40} checkpoint file",
        ),
        "The file read at {where} is cut off or is not what its name says. If the run wrote it, write "
        "it whole and close it before it is read; if it belongs to the template, an operator has to "
        "replace it.",
    ),
    row(
        "shape_mismatch",
        "RuntimeError",
        (r"You set `ignore_mismatched_sizes` to `False`",),
        "The weights loaded at {where} have other shapes than the model's config asks for; the load "
        "report printed before the traceback names each pair. Load them with their own config. "
        "`ignore_mismatched_sizes=True` would start those weights at random.",
    ),
    row(
        "dependency_missing",
        "ImportError",
        (
            r"(?P<name>[\w.-]{1,60}) has been toggled on",
            r"the package (?:for )?(?P<name2>[\w.-]{1,60}) (?:doesn't|does not|seems to be not) ",
            r"requires (?P<name3>[\w.-]{1,60}): `pip install",
            r"requires the (?P<name4>[\w.-]{1,60}) library but it was not found",
            r"[Uu]sing [^\n]{1,80} requires (?P<name5>[\w.-]{1,60})[^\n]{0,80}`pip install",
        ),
        "{name} is not installed, and packages cannot be added to a run. Leave out the option at "
        "{where} that asks for it (for attention, `sdpa` is built in).",
    ),
    row(
        "value_error",
        "ValueError",
        (r"the tokenizer does not have a padding token",),
        "Set `tokenizer.pad_token = tokenizer.eos_token` where the tokenizer is made, before {where}, "
        "and use the attention mask wherever activations are read.",
    ),
    row(
        "key_error",
        "KeyError",
        (r"^['\"]?(?P<name>blocks\.\d{1,4}\.[\w.]{1,80}|hook_\w{1,60}|ln_final\.\w{1,40})['\"]?$",),
        "There is no activation `{name}` at {where}: the model has no hook of that name, or it was "
        "not cached. `model.hook_dict` lists all names; layers count from 0 to `cfg.n_layers - 1`.",
    ),
)

_NETWORK_ROWS: tuple[Rule, ...] = (
    row("network_unavailable", "", (r"We couldn't connect to '",), _NOT_CACHED),
    row(
        "network_unavailable",
        "",
        (
            r"\b(?:429|50[0234]) (?:Client|Server) Error",
            r"Server error '50[0234]",
            r"\b429 Too Many Requests",
        ),
        "The server answers, but not with what was asked for (too many requests, or an error of its "
        "own): the method is not the cause. Use what the template has prepared and take out any "
        "download that was added at {where}.",
    ),
    row("network_unavailable", "CommError", (), _TRACKER),
    row(
        "uncaught_exception",
        "UsageError AuthenticationError",
        (r"(?i:\bno api.?key configured)", r"\bwandb login\b"),
        _TRACKER,
    ),
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
        ),
        _NETWORK,
    ),
    # After the proxies' own 403 above: what is left of these codes is the model hub's refusal.
    row(
        "gated_model",
        "HTTPError HfHubHTTPError HTTPStatusError OSError EnvironmentError",
        (r"\b40[13] Client Error", r"Client error '40[13]"),
        "The server refuses access at {where}: the model is gated, or the access token that the "
        "program sends is not valid, and a run has none of its own. Take the token out, and ask for a "
        "model that this machine has: the template's template.toml lists them.",
    ),
    row(
        "model_not_found",
        "HTTPError HfHubHTTPError HTTPStatusError RemoteEntryNotFoundError EntryNotFoundError",
        (rf"{_SAYS_MORE}[^\n]{{0,300}}\b404 Client Error", r"Client error '404"),
        "What was asked for at {where} does not exist under that name. Check the name.",
    ),
)

HUB: tuple[Rule, ...] = (*_DATASET_ROWS, *_MODEL_ROWS, *_NETWORK_ROWS)
