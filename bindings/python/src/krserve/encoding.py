"""Encodings with offsets, and texts that grow: what Tokenizer hands out beside plain ids."""

from __future__ import annotations

import array
import ctypes as c
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, List, Sequence, Tuple, Union

from . import _abi, errors
from ._handle import Handle

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

Text = Union[str, bytes]
_U32 = next(code for code in "IL" if array.array(code).itemsize == 4)


@dataclass(frozen=True)
class Encoding:
    """The tokens of one text. With truncation, `overflow` holds the parts cut off."""

    ids: List[int]
    type_ids: List[int]
    offsets: List[Tuple[int, int]]
    word_ids: List[Union[int, None]]
    special_tokens_mask: List[int]
    attention_mask: List[int]
    overflow: "List[Encoding]"

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TokenizerStats:
    """What a tokenizer has encoded since it was made or reset."""

    encodes: int
    bytes: int
    tokens: int
    seconds: float
    cache_hits: int
    cache_misses: int

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds > 0 else 0.0


class Decoder(Handle):
    """Ids to text, some at a time; none of the pieces ends within a character. For one thread at a time."""

    _close_name = "kr_decoder_close"

    def __init__(self, tokenizer: "Tokenizer", *, skip_special: bool = False) -> None:
        super().__init__()
        out = c.c_void_p()
        flags = _abi.SKIP_SPECIAL if skip_special else 0
        _abi.call(_abi.lib.kr_decoder_open, tokenizer._live(), flags, c.byref(out))
        self._handle = out.value

    def __enter__(self) -> "Decoder":
        return self

    def next(self, ids: Union[int, Sequence[int]]) -> str:
        """Takes an id, or several, and gives the text that they complete."""
        given = [ids] if isinstance(ids, int) else ids
        try:
            return self._next(array.array(_U32, given), 0)
        except OverflowError:
            raise errors.InvalidError("ids must be integers of 32 bits without sign") from None

    def flush(self) -> str:
        """Ends the text and gives what was held back; the next id begins a new one."""
        return self._next(array.array(_U32), 1)

    def _next(self, ids: "array.array[int]", last: int) -> str:
        address, count, cap = ids.buffer_info()[0], len(ids), 16 * len(ids) + 64
        while True:
            buf = c.create_string_buffer(cap)
            n = c.c_size_t(cap)
            if _abi.call(_abi.lib.kr_decoder_next, self._live(), address, count, last, buf, c.byref(n)) == _abi.OK:
                return buf.raw[: n.value].decode("utf-8", "replace")
            address, count, last, cap = 0, 0, 0, n.value  # the ids are taken; their text waits


class Appender(Handle):
    """A text that grows, such as a chat: its ids are always those of the whole text. For one thread at a time."""

    _close_name = "kr_appender_close"

    def __init__(self, tokenizer: "Tokenizer", *, special: str = "recognise") -> None:
        super().__init__()
        if special not in ("recognise", "text"):
            raise errors.InvalidError(f'special is {special!r}, not "recognise" or "text"')
        out = c.c_void_p()
        flags = _abi.SPECIAL_TEXT if special == "text" else 0
        _abi.call(_abi.lib.kr_appender_open, tokenizer._live(), flags, c.byref(out))
        self._handle = out.value

    def __enter__(self) -> "Appender":
        return self

    def append(self, text: Text, *, plain: bool = False) -> int:
        """Adds text and gives a mark of the state before. In plain text, special tokens are text."""
        data = _abi.to_bytes(text)
        mark = c.c_uint64()
        flags = _abi.SPECIAL_TEXT if plain else 0
        _abi.call(_abi.lib.kr_appender_add, self._live(), data, len(data), flags, c.byref(mark), None)
        return mark.value

    def undo(self, mark: int) -> None:
        """Goes back to a mark; marks given after it are void."""
        if not 0 <= mark < 1 << 64:
            raise errors.InvalidError(f"mark {mark} is out of range")
        _abi.call(_abi.lib.kr_appender_undo, self._live(), mark, None)

    @property
    def ids(self) -> List[int]:
        """The ids of the whole text."""
        return self.ids_from(0)

    def ids_from(self, start: int) -> List[int]:
        """The ids from number `start` on."""
        if not 0 <= start < 1 << 63:
            raise errors.InvalidError(f"start {start} is out of range")
        cap = 256
        while True:
            buf = array.array(_U32, bytes(4 * cap))
            n = c.c_size_t(cap)
            if _abi.call(_abi.lib.kr_appender_ids, self._live(), start, buf.buffer_info()[0], c.byref(n)) == _abi.OK:
                return buf[: n.value].tolist()
            cap = n.value


def read(p: _abi.EncodeParams, handle: int, guess: int) -> List[Encoding]:
    """Runs kr_tokenizer_encode_full and gives one Encoding for each text."""
    cap, parts_cap = guess, int(p.n_texts) + 1
    while True:
        ids, types, begins, ends = (array.array(_U32, bytes(4 * cap)) for _ in range(4))
        words = (c.c_int32 * cap)()
        marks = bytearray(cap)
        parts, of = (c.c_size_t * parts_cap)(), (c.c_size_t * parts_cap)()
        e = _abi.Encoding(struct_size=c.sizeof(_abi.Encoding), cap=cap, parts_cap=parts_cap)
        e.ids, e.types, e.begins, e.ends = (a.buffer_info()[0] for a in (ids, types, begins, ends))
        e.words = c.addressof(words)
        e.marks = c.addressof((c.c_char * cap).from_buffer(marks)) if cap else None
        e.parts, e.part_texts = c.addressof(parts), c.addressof(of)
        if _abi.call(_abi.lib.kr_tokenizer_encode_full, handle, c.byref(p), c.byref(e)) == _abi.OK:
            break
        cap, parts_cap = max(cap, int(e.n)), max(parts_cap, int(e.n_parts) + 1)
    out: List[Encoding] = []
    last: Any = None
    for i in range(e.n_parts):
        s = slice(parts[i], parts[i + 1])
        part = Encoding(
            ids[s].tolist(),
            types[s].tolist(),
            list(zip(begins[s].tolist(), ends[s].tolist())),
            [None if w < 0 else w for w in words[s]],
            [m & 1 for m in marks[s]],
            [1 - (m >> 1 & 1) for m in marks[s]],
            [],
        )
        if of[i] == last:
            out[-1].overflow.append(part)
        else:
            out.append(part)
        last = of[i]
    return out
