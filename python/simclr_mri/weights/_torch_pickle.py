"""The pickles of ``torch.save``, read as data: only what a dictionary of tensors needs, within fixed bounds.

A pickle is a program for a stack machine. This is such a machine with no calls in it: it knows the instructions that
PyTorch's files use, and any other ends it. A class or function that a file names is never imported. Those that make
tensors are known here; any other becomes an `Inert` placeholder, so that a training script's own objects do no harm.

A file may be written to do harm, so nothing here follows a value that came from it: no hash, no comparison and no
``repr`` of a container, no recursion. Every number that decides how much work or memory follows is checked against a
bound below.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from ._errors import WeightsError

MOST_OPERATIONS = 500_000
"""Instructions in a pickle. A ResNet-101 of torchvision with the state of its AdamW takes 55,000."""
MOST_PICKLE_BYTES = 32 << 20
MOST_DEPTH = 100
"""Containers inside each other. A training script's checkpoint has about 6."""
MOST_DIMENSIONS = 64
MOST_TEXT = 4096
"""Characters of a name."""
_LARGEST = 2**63 - 1
_MOST_ARGUMENTS = 8
_MAGIC_BYTES = 10  # the first pickle of a file before PyTorch 1.6 is one integer of 80 bits

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

_INNOCENT_BUILTINS = frozenset(
    "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple".split()
)
_ATTACKERS_MODULES = frozenset(
    "asyncio bdb code codeop commands ctypes dill importlib io joblib marshal multiprocessing nt os pathos pdb pickle "
    "pip posix pty pydoc requests runpy shutil signal site socket subprocess sys tempfile threading timeit urllib "
    "webbrowser".split()
)
"""Modules that no checkpoint needs and that attacks ask for: a file that names one is refused as a whole."""


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
        _check_depth(self.depth)


class Items(list):
    """A list or a tuple of the file: a tuple is never used as a key here, so it needs no hash."""

    __slots__ = ("depth",)

    def __init__(self, values: Any = ()) -> None:
        super().__init__(values)
        self.depth = 1 + max(map(_depth, self), default=0)
        _check_depth(self.depth)


class Table(dict):
    """A dictionary of the file. Its keys are texts and integers, whose hash costs nothing."""

    __slots__ = ("depth",)

    def __init__(self) -> None:
        super().__init__()
        self.depth = 1


_CONTAINERS = frozenset({Items, Table, Inert})


def _depth(value: Any) -> int:
    return value.depth if type(value) in _CONTAINERS else 0


def _check_depth(depth: int) -> None:
    if depth > MOST_DEPTH:
        raise WeightsError(f"holds more than {MOST_DEPTH} containers inside each other: refused")


def shortened(text: str, most: int = 80) -> str:
    """A text of the file as a message may show it: one line, no control characters, not long."""
    shown = text if len(text) <= most else f"{text[:most]}..."
    return shown if shown.isprintable() else ascii(shown)


def _described(value: Any) -> str:
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
        _Callable: "a function",
    }
    return names.get(type(value)) or f"{type(value).__name__} {value}"


@dataclass(frozen=True, slots=True)
class Unpickled:
    """A pickle's value, and the first name that it asks for and that is not known here (None: no such name)."""

    value: Any
    asked: str | None


def read_pickle(file: BinaryIO, *, is_magic: bool = False) -> Unpickled:
    """Reads one pickle up to its end.

    Parameters
    ----------
    file : binary file
        It is left behind the pickle.
    is_magic : bool, default False
        The pickle is the number with which files before PyTorch 1.6 begin, the only one of more than 64 bits.

    Returns
    -------
    Unpickled
        Its value is ``None``, bool, int, float, str, bytes, `Storage`, `Tensor`, or an `Items` (list or tuple), a
        `Table` (dictionary) or an `Inert` of them.

    Raises
    ------
    WeightsError
        Truncated, damaged, or asking for what a dictionary of tensors does not need, or for more than the bounds.
    """
    machine = _Machine(file, _MAGIC_BYTES if is_magic else 8)
    while machine.operations < MOST_OPERATIONS:
        machine.operations += 1
        code = file.read(1)
        if code == b".":
            return Unpickled(machine.pop(), machine.asked)
        instruction = _INSTRUCTIONS.get(code)
        if instruction is None:
            raise WeightsError(_unknown(code))
        instruction(machine)
    raise WeightsError(f"needs more than {MOST_OPERATIONS:,} pickle instructions: refused")


def _unknown(code: bytes) -> str:
    if not code:
        return "ends within its dictionary"
    known = {instruction.code: instruction.name for instruction in pickletools.opcodes}
    name = known.get(code.decode("latin-1"), f"0x{code[0]:02x}")
    return f"uses the pickle instruction {name}, which a dictionary of tensors does not need"


class _Machine:
    """The stack, the positions of its marks, and the memo of one pickle."""

    def __init__(self, file: BinaryIO, most_integer_bytes: int) -> None:
        self.file = file
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.left = MOST_PICKLE_BYTES
        self.operations = 0
        self.asked: str | None = None
        self.most_integer_bytes = most_integer_bytes

    # ---- reading ----

    def take(self, count: int) -> bytes:
        self.left -= count
        if self.left < 0:
            raise WeightsError(f"holds a pickle of more than {MOST_PICKLE_BYTES >> 20} MiB: refused")
        data = self.file.read(count)
        if len(data) != count:
            raise WeightsError("ends within its dictionary")
        return data

    def number(self, layout: str) -> int:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        data = self.file.readline(MOST_TEXT)
        self.left -= len(data)
        if not data.endswith(b"\n"):
            raise WeightsError("a name in its pickle does not end")
        return data[:-1].decode("utf-8", "replace")

    # ---- the stack ----

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise WeightsError("takes a value from an empty stack: damaged")
        return self.stack.pop()

    def drop(self) -> None:
        self.pop()

    def top(self, kind: type) -> Any:
        """The container on the stack that is to be filled."""
        top = self.stack[-1] if len(self.stack) > (self.marks[-1] if self.marks else 0) else None
        if type(top) is Inert:
            return top.filled(kind)
        if type(top) is not kind:
            raise WeightsError("fills what is neither a list nor a dictionary: damaged")
        return top

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise WeightsError("ends a list that did not begin: damaged")
        place = self.marks.pop()
        values = self.stack[place:]
        del self.stack[place:]
        return values

    # ---- instructions ----

    def protocol(self) -> None:
        if self.take(1)[0] > 5:
            raise WeightsError("a pickle of an unknown protocol")

    def frame(self) -> None:
        self.take(8)  # a frame's length is a hint for readers that buffer

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def integer(self) -> None:
        count = self.take(1)[0]
        if count > self.most_integer_bytes:
            raise WeightsError(f"holds an integer of {count} bytes, expected at most {self.most_integer_bytes}")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def text(self, layout: str, encoding: str) -> None:
        data = self.take(self.number(layout))
        try:
            self.push(data.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict"))
        except UnicodeDecodeError:
            raise WeightsError("holds a text that is not UTF-8: damaged") from None

    def collect(self) -> None:
        self.push(Items(self.pop_to_mark()))

    def collect_last(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.push(Items(reversed(values)))

    def append(self) -> None:
        value = self.pop()
        self.extend([value])

    def appends(self) -> None:
        self.extend(self.pop_to_mark())

    def extend(self, values: list[Any]) -> None:
        items = self.top(Items)
        items.depth = max(items.depth, 1 + max(map(_depth, values), default=0))
        _check_depth(items.depth)
        items.extend(values)
        self.note_depth(items.depth)

    def note_depth(self, depth: int) -> None:
        if type(self.stack[-1]) is Inert:
            self.stack[-1].hold(depth)

    def set_item(self) -> None:
        value = self.pop()
        key = self.pop()
        self.fill([key, value])

    def set_items(self) -> None:
        self.fill(self.pop_to_mark())

    def fill(self, pairs: list[Any]) -> None:
        table = self.top(Table)
        _fill(table, pairs)
        self.note_depth(table.depth)

    def put(self, index: int) -> None:
        if not self.stack:
            raise WeightsError("remembers a value of an empty stack: damaged")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise WeightsError("recalls a value that it did not remember: damaged")
        self.push(self.memo[index])

    def named(self) -> None:
        self.push(self.find(self.line(), self.line()))

    def named_on_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise WeightsError("asks for a name that is no text: damaged")
        self.push(self.find(module, name))

    def find(self, module: str, name: str) -> Any:
        if len(module) + len(name) > MOST_TEXT:
            raise WeightsError(f"asks for a name of more than {MOST_TEXT:,} characters: refused")
        if module in ("torch", "torch.storage") and name in ITEM_BYTES:
            return name
        if (module, name) in _CALLABLES:
            return _CALLABLES[module, name]
        asked = shortened(f"{module}.{name}")
        if _is_of_attackers(module, name):
            raise WeightsError(refusal(asked))
        self.asked = self.asked or asked
        return Inert(module, name, Items(), 1)

    def storage(self) -> None:
        named = self.pop()
        if type(named) is Items and len(named) == 4 and named[0] == "module" and type(named[1]) is Inert:
            self.push(named[1])  # before PyTorch 1.6 a class of modules is named with its source, which is not read
        else:
            self.push(_storage(named))

    def call(self) -> None:
        """REDUCE, and NEWOBJ, which makes an object of a class: both of a function and a tuple."""
        arguments, function = self.pop(), self.pop()
        if type(arguments) is not Items:
            raise WeightsError("calls what is not a function: refused")
        if type(function) is Inert:
            called = Inert(function.module, function.name, arguments, 1)
            called.hold(arguments.depth)
            self.push(called)
            return
        if type(function) is not _Callable or len(arguments) > _MOST_ARGUMENTS:
            raise WeightsError("calls what is not a function: refused")
        self.operations += sum(len(argument) for argument in arguments if type(argument) is Items)
        self.push(function.build(arguments))

    def call_with_keywords(self) -> None:
        keywords = self.pop()
        self.call()
        if type(keywords) is Table and type(self.stack[-1]) is Inert:
            self.stack[-1].state = keywords
            self.stack[-1].hold(keywords.depth)

    def build(self) -> None:
        """Attributes. Those of a dictionary or a tensor (a state_dict's _metadata) carry no tensors."""
        state = self.pop()
        target = self.pop()
        if type(target) is Inert:
            target.state = state
            target.hold(_depth(state))
        self.push(target)


def refusal(asked: str) -> str:
    return f"asks for {asked}, which a dictionary of tensors does not need: refused"


def _is_of_attackers(module: str, name: str) -> bool:
    if module in ("builtins", "__builtin__"):
        return name not in _INNOCENT_BUILTINS
    return module.partition(".")[0] in _ATTACKERS_MODULES


def _fill(table: Table, pairs: list[Any]) -> None:
    """Stores pairs of a key and a value. A key that is no name, as in a script's own tables, is left out."""
    keys, values = pairs[::2], pairs[1::2]
    if len(keys) != len(values):
        raise WeightsError("a dictionary with a key that has no value: damaged")
    table.depth = max(table.depth, 1 + max(map(_depth, values), default=0))
    _check_depth(table.depth)
    for key, value in zip(keys, values, strict=True):
        if type(key) is str and len(key) > MOST_TEXT:
            raise WeightsError(f"a name of more than {MOST_TEXT:,} characters: refused")
        if type(key) is str or type(key) is int:
            table[key] = value


# ---- what makes tensors ----


@dataclass(frozen=True, slots=True, eq=False)
class _Callable:
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
    _fill(table, [value for pair in pairs for value in pair])
    return table


def _tensor_of_type(arguments: list[Any]) -> Any:
    """The arguments (function, class, its arguments, attributes) of a tensor's subclass."""
    if len(arguments) < 3 or type(arguments[0]) is not _Callable or type(arguments[2]) is not Items:
        raise WeightsError("a tensor of a class of its own that is made in an unknown way")
    if arguments[0].build is _tensor_of_type:
        raise WeightsError("a tensor of a class of a class: damaged")
    return arguments[0].build(arguments[2])


_CALLABLES = {
    ("torch._utils", "_rebuild_tensor"): _Callable(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Callable(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Callable(_tensor_of_dtype),
    ("torch._utils", "_rebuild_parameter"): _Callable(_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): _Callable(_parameter),
    ("torch._tensor", "_rebuild_from_type_v2"): _Callable(_tensor_of_type),
    ("collections", "OrderedDict"): _Callable(_ordered_dict),
}


def _storage(value: Any) -> Storage:
    """The persistent id ("storage", kind, key, device, size), in files before PyTorch 1.6 with a view that is None."""
    fields = list(value) if type(value) is Items else []
    if len(fields) == 6 and fields[5] is None:
        fields.pop()
    if len(fields) != 5 or fields[0] != "storage":
        raise WeightsError("an unknown kind of storage: not the five fields of torch.save")
    _, kind, key, _, size = fields
    if type(kind) is not str or kind not in ITEM_BYTES:
        raise WeightsError(f"an unknown kind of storage: {_described(kind)}")
    if type(key) is not str or len(key) > MOST_TEXT or type(size) is not int or not 0 <= size <= _LARGEST:
        raise WeightsError(f"a storage with the key {_described(key)} and the size {_described(size)}: damaged")
    return Storage(kind, key, size)


def _constant(make: Callable[[], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(make())


_INSTRUCTIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": _Machine.protocol,
    b"\x95": _Machine.frame,
    b"(": _Machine.mark,
    b"N": _constant(lambda: None),
    b"\x88": _constant(lambda: True),
    b"\x89": _constant(lambda: False),
    b"J": lambda machine: machine.push(machine.number("<i")),
    b"K": lambda machine: machine.push(machine.number("<B")),
    b"M": lambda machine: machine.push(machine.number("<H")),
    b"\x8a": _Machine.integer,
    b"G": lambda machine: machine.push(struct.unpack(">d", machine.take(8))[0]),
    b"X": lambda machine: machine.text("<I", "utf-8"),
    b"\x8c": lambda machine: machine.text("<B", "utf-8"),
    b"\x8d": lambda machine: machine.text("<Q", "utf-8"),
    b"T": lambda machine: machine.text("<I", "latin-1"),  # Python 2's texts
    b"U": lambda machine: machine.text("<B", "latin-1"),
    b"B": lambda machine: machine.push(machine.take(machine.number("<I"))),
    b"C": lambda machine: machine.push(machine.take(machine.number("<B"))),
    b"}": _constant(Table),
    b"]": _constant(Items),
    b")": _constant(Items),
    b"t": _Machine.collect,
    b"l": _Machine.collect,
    b"\x85": lambda machine: machine.collect_last(1),
    b"\x86": lambda machine: machine.collect_last(2),
    b"\x87": lambda machine: machine.collect_last(3),
    b"a": _Machine.append,
    b"e": _Machine.appends,
    b"s": _Machine.set_item,
    b"u": _Machine.set_items,
    b"b": _Machine.build,
    b"\x81": _Machine.call,
    b"\x92": _Machine.call_with_keywords,
    b"\x8f": _constant(Items),  # a set, which needs no hash here either
    b"\x90": _Machine.appends,
    b"\x91": _Machine.collect,
    b"0": _Machine.drop,
    b"q": lambda machine: machine.put(machine.number("<B")),
    b"r": lambda machine: machine.put(machine.number("<I")),
    b"\x94": lambda machine: machine.put(len(machine.memo)),
    b"h": lambda machine: machine.get(machine.number("<B")),
    b"j": lambda machine: machine.get(machine.number("<I")),
    b"c": _Machine.named,
    b"\x93": _Machine.named_on_stack,
    b"Q": _Machine.storage,
    b"R": _Machine.call,
}
