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
from ._torch_values import (
    CALLABLES,
    ITEM_BYTES,
    MOST_TEXT,
    Inert,
    Items,
    Maker,
    Table,
    check_depth,
    depth_of,
    fill_table,
    shortened,
    storage_of,
)

MOST_OPERATIONS = 500_000
"""Instructions in a pickle. A ResNet-101 of torchvision with the state of its AdamW takes 55,000."""
MOST_PICKLE_BYTES = 32 << 20
_MOST_ARGUMENTS = 8
_MAGIC_BYTES = 10  # the first pickle of a file before PyTorch 1.6 is one integer of 80 bits

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
        items.depth = max(items.depth, 1 + max(map(depth_of, values), default=0))
        check_depth(items.depth)
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
        fill_table(table, pairs)
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
        if (module, name) in CALLABLES:
            return CALLABLES[module, name]
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
            self.push(storage_of(named))

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
        if type(function) is not Maker or len(arguments) > _MOST_ARGUMENTS:
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
            target.hold(depth_of(state))
        self.push(target)


def refusal(asked: str) -> str:
    return f"asks for {asked}, which a dictionary of tensors does not need: refused"


def _is_of_attackers(module: str, name: str) -> bool:
    if module in ("builtins", "__builtin__"):
        return name not in _INNOCENT_BUILTINS
    return module.partition(".")[0] in _ATTACKERS_MODULES


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
