"""Library classes whose attributes are known here, so that a class derived from them can be judged.

The names of torch are those of torch 2.13 and of the releases before it back to 2.7: a name too many only
means that a fault is missed. A test compares them with the torch that is installed.
"""

from __future__ import annotations

import builtins

_MODULE_NAMES = """
T_destination _apply _backward_hooks _backward_pre_hooks _buffers _call_impl _compiled_call_impl
_forward_hooks _forward_hooks_always_called _forward_hooks_with_kwargs _forward_pre_hooks
_forward_pre_hooks_with_kwargs _get_backward_hooks _get_backward_pre_hooks _get_name
_is_full_backward_hook _load_from_state_dict _load_state_dict_post_hooks
_load_state_dict_pre_hooks _maybe_warn_non_full_backward_hook _modules _named_members
_non_persistent_buffers_set _parameters _register_load_state_dict_pre_hook
_register_state_dict_hook _replicate_for_data_parallel _save_to_state_dict _slow_forward
_state_dict_hooks _state_dict_pre_hooks _version _wrapped_call_impl add_module apply bfloat16
buffers call_super_init children compile cpu cuda double dump_patches eval extra_repr float
forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict modules
mtia named_buffers named_children named_modules named_parameters parameters
register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
register_load_state_dict_pre_hook register_module register_parameter
register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
set_submodule share_memory state_dict to to_empty train training type xpu zero_grad
"""
MODULE = frozenset(_MODULE_NAMES.split())
DATASET = frozenset({"_abc_impl", "_is_protocol", "functions"})
_OPTIMIZER_NAMES = """
OptimizerPostHook OptimizerPreHook _accelerator_graph_capture_health_check
_cuda_graph_capture_health_check _group_tensors_by_device_and_dtype _init_group
_optimizer_load_state_dict_post_hooks _optimizer_load_state_dict_pre_hooks
_optimizer_state_dict_post_hooks _optimizer_state_dict_pre_hooks _optimizer_step_code
_optimizer_step_post_hooks _optimizer_step_pre_hooks _patch_step_function
_process_value_according_to_param_policy _warned_capturable_if_run_uncaptured
_zero_grad_profile_name _need_device_dtype_check_for_fused _step_supports_amp_scaling
add_param_group defaults hooks load_state_dict param_groups profile_hook_step
register_load_state_dict_post_hook register_load_state_dict_pre_hook
register_state_dict_post_hook register_state_dict_pre_hook register_step_post_hook
register_step_pre_hook state state_dict step zero_grad fused foreach
"""
OPTIMIZER = frozenset(_OPTIMIZER_NAMES.split())
_ABC = frozenset({"_abc_impl", "register"})
_NAMED_TUPLE = frozenset(
    {*dir(tuple), "_asdict", "_replace", "_make", "_fields", "_field_defaults", "_field_types"}
)

KNOWN: dict[str, frozenset[str]] = {
    "abc.ABC": _ABC,
    "typing.Generic": frozenset({"_is_protocol", "_abc_impl"}),
    "typing.NamedTuple": _NAMED_TUPLE,
    **dict.fromkeys(
        ["torch.nn.Module", "torch.nn.modules.Module", "torch.nn.modules.module.Module"], MODULE
    ),
    **dict.fromkeys(
        [
            "torch.utils.data.Dataset",
            "torch.utils.data.IterableDataset",
            "torch.utils.data.dataset.Dataset",
            "torch.utils.data.dataset.IterableDataset",
        ],
        DATASET,
    ),
    **dict.fromkeys(
        [
            "torch.optim.Optimizer",
            "torch.optim.optimizer.Optimizer",
            "torch.optim.Adam",
            "torch.optim.AdamW",
            "torch.optim.SGD",
            "torch.optim.RMSprop",
        ],
        OPTIMIZER,
    ),
}

# Decorators that add no attribute but `__names__`, and hand the same class back.
PLAIN_DECORATORS = frozenset(
    {"dataclass", "total_ordering", "final", "runtime_checkable", "unique", "add_start_docstrings"}
)
# What a framework or the interpreter calls without the file naming it.
_FRAMEWORK_METHODS_NAMES = """
forward backward encode decode step update loss training_step validation_step test_step
predict_step configure_optimizers train_dataloader val_dataloader test_dataloader setup
prepare_data on_train_start on_train_end on_train_epoch_start on_train_epoch_end extra_repr
reset_parameters state_dict load_state_dict compute_loss run close flush write read
"""
FRAMEWORK_METHODS = frozenset(_FRAMEWORK_METHODS_NAMES.split())


def builtin_names(name: str) -> frozenset[str] | None:
    """The attributes of a built-in class; None where the name is no class, or one of classes (`type`)."""
    found = getattr(builtins, name, None)
    if not isinstance(found, type) or issubclass(found, type) or found is super:
        return None
    return frozenset(dir(found))
