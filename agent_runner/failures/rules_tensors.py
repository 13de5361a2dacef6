"""Rows of the catalogue about tensors: shapes, dtypes and devices, gradients, numbers that are not finite."""

from __future__ import annotations

from agent_runner.failures.rules import Rule, row

_SHAPE = (
    "The shapes do not fit at {where}: {code}. Print the shapes there and make them agree. If the "
    "code is also called with leading dimensions (batch, sequence, features), flatten them first: "
    "`x.reshape(-1, x.shape[-1])`."
)
_SCALAR = (
    "At {where} a tensor of many elements stands where one number is needed. Reduce it first "
    "(`.mean()`, `.sum()`, `.any()`, `.all()`), or backpropagate from a scalar loss."
)
_DTYPE = (
    "Two dtypes or devices meet at {where}: {code}. Bring both to one with `.to(x)` or "
    "`.to(dtype=x.dtype, device=x.device)`; evaluation may run in another dtype than training."
)
_INDEX = "An index at {where} lies outside the tensor or list: {code}. Check its range and length."
_IN_PLACE = (
    "A tensor that backward still needs is changed in place near {where}. Write a new tensor "
    "instead (`x = x + y`), and keep running statistics under `torch.no_grad()` with `.detach()`."
)

_DTYPE_ROWS: tuple[Rule, ...] = (
    row(
        "dtype_or_device_mismatch",
        "",
        (r"Got unsupported ScalarType (?P<name>\w{1,40})",),
        "NumPy has no {name}: at {where} write `.detach().float().cpu().numpy()`, or stay in torch. "
        "Evaluation may run in another dtype than training.",
    ),
    row(
        "dtype_or_device_mismatch",
        "",
        (r"Can't call numpy\(\) on Tensor that requires grad",),
        "At {where} write `.detach().float().cpu().numpy()`, or use the torch function of the same "
        "name, which also keeps the gradient.",
    ),
    row(
        "dtype_or_device_mismatch",
        "",
        (r"can't convert \S{1,40} device type tensor to numpy",),
        "The tensor at {where} is on a GPU: write `.detach().float().cpu().numpy()`.",
    ),
    row(
        "dtype_or_device_mismatch",
        "",
        (
            r"[Ee]xpected [^\n]{1,80}\b(?:dtypes?|scalar types?|device)\b",
            r"have (?:the )?same dtype",
            r"(?:on|to be on) the same device",
            r"not implemented for '(?:Half|BFloat16|Float|Double|Complex\w{1,10})'",
            r"not implemented for '(?:Long|Int|Short|Byte|Char|Bool)'",
            r"result type \w{1,30} can't be cast to the desired output type",
            r"Input type \(\S{1,60}\) and (?:weight|bias) type \(\S{1,60}\) should be the same",
            r"source and destination dtypes match",
            r"[Ff]ound dtype \w{1,30} but expected",
            r"tensors used as indices must be",
            r"only Tensors of floating point",
            r"must be either float or double dtype",
            r"Cannot copy out of meta tensor",
        ),
        _DTYPE,
    ),
    row(
        "dtype_or_device_mismatch",
        "",
        (r"device type at start of device string", r"Invalid device string"),
        "No device has that name. At {where} use the device of a tensor at hand (`x.device`).",
    ),
)

_SHAPE_ROWS: tuple[Rule, ...] = (
    row(
        "shape_mismatch",
        "",
        (
            r"mat1 and mat2 shapes cannot be multiplied",
            r"(?:must|should) be (?:a |an )?(?:matrix|vector|[1-5]-?D\b)",
            r"[1-5]D tensors? expected",
            r"Expected [1-5]D array, got",
            r"doesn't match the broadcast shape",
            r"The size of tensor a \(\d{1,20}\) must match the size of tensor b",
            r"The expanded size of the tensor",
            r"shape '\[[^\]\n]{0,100}\]' is invalid for input of size",
            r"view size is not compatible",
            r"Sizes of tensors must match except",
            r"stack expects each tensor to be equal size",
            r"size mismatch, got",
            r"copying a param with shape",
            r"operands could not be broadcast together",
            r"could not broadcast input array",
            r"shapes \([\d, ]{1,60}\) and \([\d, ]{1,60}\) not aligned",
            r"mismatch in its core dimension",
            r"cannot reshape (?:array|tensor)",
            r"all the input array",
            r"einsum\(\): ",
            r"Expected size for first two dimensions",
            r"Expected input batch_size",
            r"Given groups=\d{1,9}, weight of size",
            r"number of dimensions in the tensor input does not match",
            r"expected sequence of length \d{1,20} at dim",
            r"The shape of the mask",
            r"shape mismatch",
            r"Mismatch in shape",
            r"too many indices for (?:tensor|array)",
            r"Number of indices \(\d{1,20}\) should be equal",
            r"Dimension out of range",
            r"inhomogeneous shape",
        ),
        _SHAPE,
    ),
    row(
        "shape_mismatch",
        "",
        (
            r"cannot be converted to Scalar",
            r"only one element tensors can be converted",
            r"Boolean value of Tensor with more than one value is ambiguous",
            r"truth value of an array with more than one element is ambiguous",
            r"grad can be implicitly created only for scalar outputs",
        ),
        _SCALAR,
    ),
    row(
        "index_error",
        "IndexError RuntimeError",
        (
            r"is out of bounds",
            r"index out of range in self",
            r"selected (?:index|number) k out of range",
        ),
        _INDEX,
    ),
)

_GRADIENT_ROWS: tuple[Rule, ...] = (
    row(
        "autograd_error",
        "",
        (
            r"modified by an inplace operation",
            r"leaf Variable that requires grad is being used in an in-place operation",
            r"a view of a leaf Variable",
        ),
        _IN_PLACE,
    ),
    row(
        "autograd_error",
        "",
        (r"Trying to backward through the graph a second time",),
        "A tensor kept from an earlier step carries that step's graph into {where}. Keep it with "
        "`.detach()`, and call backward once per step.",
    ),
    row(
        "autograd_error",
        "",
        (r"does not require grad and does not have a grad_fn", r"optimizer got an empty parameter"),
        "No trainable parameter takes part in the loss at {where}. Look for a `.detach()`, "
        "`.item()`, NumPy call or `no_grad` between the parameters and the loss.",
    ),
)

_FINITE_ROWS: tuple[Rule, ...] = (
    row(
        "non_finite_loss",
        "",
        (
            r"contains? (?:NaN|infinity|inf\b)",
            r"returned nan values",
            r"(?i:\b(?:loss|gradient|grad|norm|activation|weight|parameter)s?\b[^\n]{0,40}"
            r"\b(?:is|are|became|was|has|contains?)\b[^\n]{0,20}"
            r"\b(?:nan|inf|infinite|non-?finite|not finite)\b)",
            r"(?i:\b(?:nan|non-?finite)\b[^\n]{0,20}\b(?:loss|gradient))",
            r"probability tensor contains either",
            r"Out of range float values are not JSON compliant",
            r"array must not contain infs or NaNs",
            r"cannot convert float (?:NaN|infinity) to integer",
        ),
        "A number became NaN or infinite before {where}. Look for a division by something that can "
        "be zero, a log or square root of a number that can be <= 0, or too high a learning rate; "
        "add a small epsilon or clamp, and check `torch.isfinite(loss)` each step.",
    ),
    row(
        "non_finite_loss",
        "FloatingPointError",
        (),
        "A computation at {where} has no finite result.",
    ),
    row(
        "value_error",
        "LinAlgError _LinAlgError",
        (),
        "The matrix at {where} cannot be inverted or decomposed. Add a small multiple of the identity.",
    ),
    row(
        "state_dict_mismatch",
        "",
        (r"(?:Missing|Unexpected) key\(s\) in state_dict",),
        "The checkpoint and the module at {where} have different parameters or buffers. Give them "
        "the same names, or save and load with the same class.",
    ),
)

TENSORS: tuple[Rule, ...] = (*_DTYPE_ROWS, *_SHAPE_ROWS, *_GRADIENT_ROWS, *_FINITE_ROWS)
