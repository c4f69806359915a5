"""What the pickles of ``torch.save`` hold, as plain values: containers, tensors, and what calls would have made.

None of them has a hash, a comparison or a ``repr`` that follows what a file put into it; see `_torch_pickle`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._errors import WeightsError

MOST_DEPTH = 100
"""Containers inside each other. A training script's checkpoint has about 6."""
MOST_DIMENSIONS = 64
MOST_TEXT = 4096
"""Characters of a name."""
_LARGEST = 2**63 - 1

ITEM_BYTES = {
    "FloatStorage": 4,
    "DoubleStorage": 8,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
    "UntypedStorage": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
}
"""Bytes of one number in each kind of storage that can be read. Tensors of the last three lie in untyped storages."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A named run of `size` numbers in the file, shared by any number of tensors."""

    kind: str
    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage; its extent has not been checked against the storage yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Inert:
    """An object of a class that is not known here: what the file gives it, and nothing that it does.

    Attributes
    ----------
    module, name : str
        The class or function that the file names.
    arguments : list
        What it would be called with.
    state : object
        What would become its attributes.
    items, table : list, dict
        What would be appended to it or stored in it.
    """

    module: str
    name: str
    arguments: Items
    depth: int
    state: Any = None
    items: Items | None = None
    table: Table | None = None

    def filled(self, kind: type) -> Any:
        """What it holds as a list or as a dictionary; made at the first use, because most objects are neither."""
        if kind is Items:
            self.items = Items() if self.items is None else self.items
            return self.items
        self.table = Table() if self.table is None else self.table
        return self.table

    def hold(self, depth: int) -> None:
        self.depth = max(self.depth, 1 + depth)
        check_depth(self.depth)


class Items(list):
    """A list or a tuple of the file: a tuple is never used as a key here, so it needs no hash."""

    __slots__ = ("depth",)

    def __init__(self, values: Any = ()) -> None:
        super().__init__(values)
        self.depth = 1 + max(map(depth_of, self), default=0)
        check_depth(self.depth)


class Table(dict):
    """A dictionary of the file. Its keys are texts and integers, whose hash costs nothing."""

    __slots__ = ("depth",)

    def __init__(self) -> None:
        super().__init__()
        self.depth = 1


_CONTAINERS = frozenset({Items, Table, Inert})


def depth_of(value: Any) -> int:
    return value.depth if type(value) in _CONTAINERS else 0


def check_depth(depth: int) -> None:
    if depth > MOST_DEPTH:
        raise WeightsError(f"holds more than {MOST_DEPTH} containers inside each other: refused")


def shortened(text: str, most: int = 80) -> str:
    """A text of the file as a message may show it: one line, no control characters, not long."""
    shown = text if len(text) <= most else f"{text[:most]}..."
    return shown if shown.isprintable() else ascii(shown)


def described(value: Any) -> str:
    """What a value is, without looking into it."""
    if isinstance(value, str):
        return f"'{shortened(value)}'"
    names = {
        type(None): "None",
        bytes: "bytes",
        Items: "a list",
        Table: "a dictionary",
        Inert: "an object",
        Tensor: "a tensor",
        Storage: "a storage",
        Maker: "a function",
    }
    return names.get(type(value)) or f"{type(value).__name__} {value}"


def fill_table(table: Table, pairs: list[Any]) -> None:
    """Stores pairs of a key and a value. A key that is no name, as in a script's own tables, is left out."""
    keys, values = pairs[::2], pairs[1::2]
    if len(keys) != len(values):
        raise WeightsError("a dictionary with a key that has no value: damaged")
    table.depth = max(table.depth, 1 + max(map(depth_of, values), default=0))
    check_depth(table.depth)
    for key, value in zip(keys, values, strict=True):
        if type(key) is str and len(key) > MOST_TEXT:
            raise WeightsError(f"a name of more than {MOST_TEXT:,} characters: refused")
        if type(key) is str or type(key) is int:
            table[key] = value


# ---- what makes tensors ----


@dataclass(frozen=True, slots=True, eq=False)
class Maker:
    """A function that a file may name, and what happens instead of a call."""

    build: Callable[[list[Any]], Any]


def _tensor(arguments: list[Any]) -> Tensor:
    storage, offset, shape, stride = arguments[:4] if len(arguments) >= 4 else (None, None, None, None)
    if type(storage) is not Storage or type(shape) is not Items or type(stride) is not Items:
        raise WeightsError("a tensor without a storage, a shape and a stride: damaged")
    if len(shape) != len(stride):
        raise WeightsError("a tensor whose shape and stride differ in length")
    if len(shape) > MOST_DIMENSIONS:
        raise WeightsError(f"a tensor of {len(shape):,} dimensions, expected at most {MOST_DIMENSIONS}")
    sizes = (offset, *shape, *stride)
    if type(offset) is not int or not all(type(n) is int and 0 <= n <= _LARGEST for n in sizes):
        raise WeightsError("a tensor with sizes that are not natural numbers")
    return Tensor(storage, offset, tuple(shape), tuple(stride))


def _tensor_of_dtype(arguments: list[Any]) -> Any:
    """A tensor of one of the dtypes that have no storage of their own; what numpy has no dtype for is passed over."""
    tensor = _tensor(arguments)
    dtype = arguments[6] if len(arguments) > 6 else None
    if type(dtype) not in (str, Inert) or tensor.storage.kind != "UntypedStorage":
        raise WeightsError("a tensor of a dtype that is not named: damaged")
    if dtype not in ("uint16", "uint32", "uint64"):
        return None
    size = tensor.storage.size // ITEM_BYTES[dtype]
    return Tensor(Storage(dtype, tensor.storage.key, size), tensor.offset, tensor.shape, tensor.stride)


def _parameter(arguments: list[Any]) -> Tensor:
    if not arguments or type(arguments[0]) is not Tensor:
        raise WeightsError("a parameter that is no tensor: damaged")
    return arguments[0]


def _ordered_dict(arguments: list[Any]) -> Table:
    table = Table()
    pairs = arguments[0] if arguments else []
    if not isinstance(pairs, list) or not all(type(pair) is Items and len(pair) == 2 for pair in pairs):
        raise WeightsError("an ordered dictionary that is not made of pairs: damaged")
    fill_table(table, [value for pair in pairs for value in pair])
    return table


def _tensor_of_type(arguments: list[Any]) -> Any:
    """The arguments (function, class, its arguments, attributes) of a tensor's subclass."""
    if len(arguments) < 3 or type(arguments[0]) is not Maker or type(arguments[2]) is not Items:
        raise WeightsError("a tensor of a class of its own that is made in an unknown way")
    if arguments[0].build is _tensor_of_type:
        raise WeightsError("a tensor of a class of a class: damaged")
    return arguments[0].build(arguments[2])


CALLABLES = {
    ("torch._utils", "_rebuild_tensor"): Maker(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Maker(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): Maker(_tensor_of_dtype),
    ("torch._utils", "_rebuild_parameter"): Maker(_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): Maker(_parameter),
    ("torch._tensor", "_rebuild_from_type_v2"): Maker(_tensor_of_type),
    ("collections", "OrderedDict"): Maker(_ordered_dict),
}


def storage_of(value: Any) -> Storage:
    """The persistent id ("storage", kind, key, device, size), in files before PyTorch 1.6 with a view that is None."""
    fields = list(value) if type(value) is Items else []
    if len(fields) == 6 and fields[5] is None:
        fields.pop()
    if len(fields) != 5 or fields[0] != "storage":
        raise WeightsError("an unknown kind of storage: not the five fields of torch.save")
    _, kind, key, _, size = fields
    if type(kind) is not str or kind not in ITEM_BYTES:
        raise WeightsError(f"an unknown kind of storage: {described(kind)}")
    if type(key) is not str or len(key) > MOST_TEXT or type(size) is not int or not 0 <= size <= _LARGEST:
        raise WeightsError(f"a storage with the key {described(key)} and the size {described(size)}: damaged")
    return Storage(kind, key, size)
