"""Rows of the catalogue about tensors: shapes, dtypes and devices, gradients, numbers that are not finite."""

from __future__ import annotations

from agent_runner.failures.rules import Rule, row
from agent_runner.failures.rules_objects import NOT_FINITE, OBJECTS

_SHAPE = (
    "The shapes do not fit at {where}: {code}. Compare the shapes of the tensors on that line and "
    "make them agree. If the code is also called with leading dimensions (batch, sequence, "
    "features), flatten them first: `x.reshape(-1, x.shape[-1])`."
)
_SCALAR = (
    "At {where} a tensor of many elements stands where one number is needed. Reduce it first "
    "(`.mean()`, `.sum()`, `.any()`, `.all()`), or backpropagate from a scalar loss."
)
_DTYPE = (
    "Two dtypes or devices meet at {where}: {code}. Bring both to one with `.to(x)` or "
    "`.to(dtype=x.dtype, device=x.device)`; evaluation may run in another dtype than training."
)
_INDEX = (
    "An index at {where} lies outside the tensor or list: {code}. Check its range and length. In an embedding "
    "it is a token id beyond the vocabulary, or a position beyond the model's context."
)
_WHOLE = (
    "Indices and class labels at {where} must be whole numbers: {code}. Convert them with `.long()` "
    "there, and look for what made them floats."
)
_JOINED = (
    "The parts put together at {where} differ in size: {code}. Pad or cut them to one size, keep them "
    "in a list, or join them along another dimension. Samples of a data loader that differ in length "
    "are padded in its `collate_fn`."
)
_IN_PLACE = (
    "A tensor that the backward pass of {where} needs was changed in place after it was used: look "
    "there and in the forward pass for `x[...] =`, `+=` and methods that end in `_`. Write a new "
    "tensor instead (`x = x + y`, `torch.where`), and keep running statistics under "
    "`torch.no_grad()` with `.detach()`."
)
_LEAF = (
    "A trainable parameter is changed in place at {where}: {code}. Do it inside "
    "`with torch.no_grad():`, after the optimizer's step."
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
            r"[Oo]nly Tensors of floating point",
            r"a leaf Variable that requires grad must be of floating point",
        ),
        "Only floating-point tensors can be learned: at {where} make it one (`.float()`, "
        "`dtype=torch.float32`), or keep what is not learned with `register_buffer`.",
    ),
    row(
        "dtype_or_device_mismatch",
        "",
        (r"Cannot copy out of meta tensor", r"[Tt]ensor on device meta"),
        "The tensors at {where} were made on the meta device and hold no numbers. Build the module "
        "on a real device, or give it memory with `module.to_empty(device=...)` and then initialise "
        "or load all its weights.",
    ),
    row(
        "dtype_or_device_mismatch",
        "",
        (r"(?:on|to be on) the same device", r"should be on the same device"),
        "Tensors on different devices meet at {where}: {code}. Make new ones where the others are "
        "(`device=x.device`); what belongs to a module moves with it only as an `nn.Parameter` or "
        "through `register_buffer`.",
    ),
    row(
        "gpu_fault",
        "",
        (
            r"NVIDIA driver on your system is too old",
            r"CUDA unknown error",
            r"CUDA initialization: ",
        ),
        "The GPU cannot be used with the driver of this machine, whatever the method does: an operator "
        "has to look at it. Then the same proposal can be sent again.",
    ),
    row(
        "dtype_or_device_mismatch",
        "",
        (
            r"expected target dtype to be Long",
            r"expected scalar type Long but found",
            r"scalar types?: Long, Int",
            r"tensors used as indices must be",
            r"Expected dtype int\d{2}(?:/int\d{2})? for index",
            r"not implemented for '(?:Float|Double)'",
        ),
        _WHOLE,
    ),
    row(
        "type_error",
        "IndexError TypeError",
        (r"only integers, slices", r"only integer (?:tensors|scalar arrays) "),
        "The index at {where} is no whole number: {code}. A division gives a float: use `//` or "
        "`int(...)`, and keep it below the length.",
    ),
    row(
        "dtype_or_device_mismatch",
        "",
        (
            r"not implemented for '(?:Half|BFloat16|Complex\w{1,10})'",
            r"not implemented for '(?:Long|Int|Short|Byte|Char|Bool)'",
            r"must be either float or double dtype",
            r"must be either a floating point or complex dtype",
            r"operator, with (?:two|a) bool tensor",
        ),
        "The operation at {where} does not exist for this dtype: {code}. Convert with `.float()` "
        "before it, and back with `.to(x.dtype)` after it. Evaluation may run in another dtype than "
        "training.",
    ),
    row(
        "dtype_or_device_mismatch",
        "",
        (
            r"[Ee]xpected [^\n]{1,80}\b(?:dtypes?|scalar types?|device)\b",
            r"have (?:the )?same dtype",
            r"result type \w{1,30} can't be cast to the desired output type",
            r"Input type \(\S{1,60}\) and (?:weight|bias) type \(\S{1,60}\) should be the same",
            r"source and destination dtypes match",
            r"[Ff]ound dtype \w{1,30} but expected",
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
        "state_dict_mismatch",
        "",
        (r"(?:Missing|Unexpected) key\(s\) in state_dict",),
        "The checkpoint and the module at {where} have different parameters or buffers. Give them "
        "the same names, or save and load with the same class.",
    ),
    row(
        "shape_mismatch",
        "",
        (r"copying a param with shape",),
        "The checkpoint loaded at {where} was saved by a module of other sizes. Build the module "
        "with the sizes it was saved with (save them in it), or do not load it.",
    ),
    row(
        "shape_mismatch",
        "",
        (
            r"Sizes of tensors must match except",
            r"stack expects each tensor to be equal size",
            r"Trying to resize storage that is not resizable",
            r"all the input array",
            r"all input arrays must have the same shape",
            r"inhomogeneous shape",
            r"expected sequence of length \d{1,20} at dim",
            r"each element in list of batch should be of equal size",
        ),
        _JOINED,
    ),
    row(
        "shape_mismatch",
        "",
        (
            r"shape '\[[^\]\n]{0,100}\]' is invalid for input of size",
            r"cannot reshape (?:array|tensor)",
        ),
        "The number of elements at {where} does not fit the shape that is asked for: {code}. Take "
        "sizes from `x.shape` instead of fixed numbers. If a last, shorter batch is the cause, drop "
        "it (`drop_last=True`) or use a group size that divides every batch.",
    ),
    row(
        "shape_mismatch",
        "",
        (r"doesn't match the broadcast shape",),
        "What is written in place at {where} has more dimensions than the tensor that is changed: "
        "{code}. If that keeps a statistic per feature, average over all leading dimensions, for "
        "batches and sequences alike: `x.reshape(-1, x.shape[-1]).mean(dim=0)`.",
    ),
    row(
        "shape_mismatch",
        "",
        (
            r"inconsistent numbers of samples",
            r"Length of values \(\d{1,20}\) does not match length of index",
            r"[Aa]rrays must (?:all )?be (?:of )?the same length",
        ),
        "Columns, or features and labels, at {where} differ in number: {code}. Find what drops or repeats "
        "some of them (a last short batch, a filter, another split) and do the same to both.",
    ),
    row(
        "shape_mismatch",
        "ValueError",
        (r"has \d{1,9} features?, but \w{1,80} is expecting \d{1,9} features",),
        "The data at {where} have another number of columns than those the estimator was fitted on: "
        "{code}. Build both by the same steps.",
    ),
    row(
        "shape_mismatch",
        "",
        (
            r"mat1 and mat2 shapes cannot be multiplied",
            r"(?:must|should) be (?:a |an )?(?:matrix|vector|[1-5]-?D\b)",
            r"[1-5]D tensors? expected",
            r"Expected [1-5]D array, got",
            r"The size of tensor a \(\d{1,20}\) must match the size of tensor b",
            r"The expanded size of the tensor",
            r"view size is not compatible",
            r"size mismatch, got",
            r"must have same reduction dim",
            r"Given normalized_shape=",
            r"must be equal to input_size",
            r"was expecting embedding dimension",
            r"operands could not be broadcast together",
            r"could not broadcast input array",
            r"shapes \([\d, ]{1,60}\) and \([\d, ]{1,60}\) not aligned",
            r"mismatch in its core dimension",
            r"einsum\(\): ",
            r"Expected size for first two dimensions",
            r"Expected input batch_size",
            r"Given groups=\d{1,9}, weight of size",
            r"number of dimensions in the tensor input does not match",
            r"The shape of the mask",
            r"shape mismatch",
            r"Mismatch in shape",
            r"too many indices for (?:tensor|array)",
            r"Number of indices \(\d{1,20}\) should be equal",
            r"Dimension out of range",
            r"axis \d{1,3} is out of bounds for array of dimension",
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
            r"truth value of an? (?:array|Series|DataFrame)\b[^\n]{0,40} is ambiguous",
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
        (r"modified by an inplace operation",),
        _IN_PLACE,
    ),
    row(
        "autograd_error",
        "",
        (
            r"leaf Variable that requires grad is being used in an in-place operation",
            r"a view of a leaf Variable",
        ),
        _LEAF,
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
        (r"does not require grad and does not have a grad_fn",),
        "No trainable parameter takes part in the loss at {where}. Look for a `.detach()`, "
        "`.item()`, `torch.tensor(...)`, NumPy call or `no_grad` between the parameters and the loss.",
    ),
    row(
        "autograd_error",
        "",
        (r"optimizer got an empty parameter",),
        "The optimizer made at {where} is given no trainable parameter. Keep layers in "
        "`nn.ModuleList` or `nn.ModuleDict` (a plain list hides them) and learned tensors in "
        "`nn.Parameter`; a generator such as `model.parameters()` can be read only once.",
    ),
    row(
        "value_error",
        "",
        (r"Tried to step \d{1,20} times",),
        "The learning-rate schedule at {where} is stepped more often than it was made for. Count its "
        "`total_steps` as it is called: batches of an epoch (the last short one too) times epochs.",
    ),
)

_FINITE_ROWS: tuple[Rule, ...] = (
    row(
        "non_finite_loss",
        "",
        (r"Function '(?P<name>\w{1,100})' returned nan values",),
        "The gradient of {where} is NaN, in {name}: {code}. So it is with a square root or a norm at "
        "zero, the log of zero, a division by zero, and 0 times infinity, also in the branch that "
        "`torch.where` does not take. Add a small epsilon inside (`(x + 1e-8).sqrt()`) or clamp.",
    ),
    row(
        "non_finite_loss",
        "",
        (
            r"contains? (?:NaN|infinity|inf\b)",
            r"(?i:\b(?:loss|gradient|grad|norm|activation|weight|parameter)s?\b[^\n]{0,40}"
            r"\b(?:is|are|became|was|has|contains?)\b[^\n]{0,20}"
            r"\b(?:nan|inf|infinite|non-?finite|not finite)\b)",
            r"(?i:\b(?:nan|non-?finite)\b[^\n]{0,20}\b(?:loss|gradient))",
            r"probability tensor contains either",
            r"to satisfy the constraint [^\n]{1,200}found invalid values:\s{1,3}tensor\([^)]{0,400}\bnan\b",
            r"[Cc]annot convert non-finite values",
            r"Out of range float values are not JSON compliant",
            r"array must not contain infs or NaNs",
            r"cannot convert float (?:NaN|infinity) to integer",
        ),
        NOT_FINITE,
    ),
    row(
        "non_finite_loss",
        "RuntimeWarning",
        (r"(?:divide by zero|invalid value|overflow|underflow) encountered",),
        NOT_FINITE,
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
)

TENSORS: tuple[Rule, ...] = (
    *_DTYPE_ROWS,
    *_SHAPE_ROWS,
    *_GRADIENT_ROWS,
    *_FINITE_ROWS,
    *OBJECTS,
)
