"""Text to token ids and back."""

from __future__ import annotations

import array
import asyncio
import ctypes as c
import json
import os
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _abi, errors
from ._handle import Handle, i32, i64
from .encoding import Appender, Decoder, Encoding, TokenizerStats, read

if TYPE_CHECKING:
    import numpy
    import numpy.typing

Text = Union[str, bytes]
Ids = Union[Sequence[int], "numpy.typing.NDArray[Any]"]
Message = Mapping[str, Any]

_SPECIAL = {"recognise": 0, "text": _abi.SPECIAL_TEXT, "refuse": _abi.SPECIAL_REFUSE}
_U32 = next(code for code in "IL" if array.array(code).itemsize == 4)


class Tokenizer(Handle):
    """A tokenizer: immutable, and safe to use from many threads at once.

    `source` is the path of a tokenizer.json (or its directory), a GGUF, a .tiktoken or a SentencePiece .model, or the
    bytes of such a file. `threads` is what one long text, or a batch, is encoded on (0: one per core), `cache_bytes` the
    bound on the cache of pieces (0: 32 MiB), `min_parallel_bytes` the shortest text that several threads share (0: 64 KiB).
    `prepared_dir` keeps what a path holds in compiled form, which loads ten times faster; "" keeps nothing.
    """

    _close_name = "kr_tokenizer_close"

    def __init__(
        self,
        source: Union[str, "os.PathLike[str]", bytes],
        *,
        threads: int = 0,
        cache_bytes: int = 0,
        min_parallel_bytes: int = 0,
        prepared_dir: Union[str, "os.PathLike[str]"] = "",
    ) -> None:
        super().__init__()
        p = _abi.TokenizerParams(
            struct_size=c.sizeof(_abi.TokenizerParams),
            threads=i32("threads", threads),
            cache_bytes=i64("cache_bytes", cache_bytes),
            min_parallel_bytes=i64("min_parallel_bytes", min_parallel_bytes),
            prepared_dir=_abi.to_str(os.fsencode(prepared_dir)),
        )
        if isinstance(source, bytes):
            p.data, p.len = source, len(source)
        else:
            p.path = _abi.to_str(os.fsencode(source))
        out = c.c_void_p()
        _abi.call(_abi.lib.kr_tokenizer_open_params, c.byref(p), c.byref(out))
        self._adopt(out)

    def _adopt(self, out: c.c_void_p) -> None:
        self._handle = out.value
        info = _abi.TokenizerInfo(struct_size=c.sizeof(_abi.TokenizerInfo))
        _abi.call(_abi.lib.kr_tokenizer_describe, self._handle, c.byref(info))
        self._info = info

    @classmethod
    def _of(cls, out: c.c_void_p) -> "Tokenizer":
        t = cls.__new__(cls)
        Handle.__init__(t)
        t._adopt(out)
        return t

    def __enter__(self) -> "Tokenizer":
        return self

    # Vocabulary

    @property
    def vocab_size(self) -> int:
        """Ids are below this number."""
        return int(self._info.size)

    def __len__(self) -> int:
        return self.vocab_size

    @property
    def bos(self) -> Optional[int]:
        """The begin-of-text id, if there is one."""
        return None if self._info.bos == _abi.NO_ID else int(self._info.bos)

    @property
    def eos(self) -> Optional[int]:
        """The end-of-text id, if there is one."""
        return None if self._info.eos == _abi.NO_ID else int(self._info.eos)

    @property
    def end_ids(self) -> List[int]:
        """All ids that end an answer."""
        return list(self._info.end_ids[: self._info.n_end_ids])

    @property
    def has_template(self) -> bool:
        """Whether there is a chat template."""
        return bool(self._info.has_template)

    def token_id(self, piece: Text) -> Optional[int]:
        """The id of a token by its exact spelling, special tokens included."""
        data = _abi.to_bytes(piece)
        out = c.c_uint32()
        _abi.call(_abi.lib.kr_tokenizer_token_id, self._live(), data, len(data), c.byref(out))
        return None if out.value == _abi.NO_ID else out.value

    def piece(self, id: int) -> str:
        """The spelling of a token in the vocabulary."""
        return self._piece(id)[0]

    def is_special(self, id: int) -> bool:
        """Whether an id is a special token."""
        return self._piece(id)[1]

    def _piece(self, id: int) -> Tuple[str, bool]:
        if not 0 <= id < 1 << 32:
            raise errors.InvalidError(f"id {id} is out of range")
        special = c.c_int32()
        data = _fill(_abi.lib.kr_tokenizer_piece, 256, self._live(), id, last=(c.byref(special),))
        return data.decode("utf-8", "replace"), special.value != 0

    # Text to ids

    def encode(self, text: Text, *, add_special: bool = False, special: str = "recognise") -> List[int]:
        """The ids of text. `add_special` adds what the model's post-processor adds, such as a begin token.

        `special` says what becomes of special tokens spelled in the text: "recognise", "text" or "refuse".
        """
        data = _abi.to_bytes(text)
        cap = len(data) + 16
        while True:
            buf = array.array(_U32, bytes(4 * cap))
            n = self._encode(data, _flags(add_special, special), buf.buffer_info()[0], cap)
            if n <= cap:
                return buf[:n].tolist()
            cap = n

    def encode_array(
        self, text: Text, *, add_special: bool = False, special: str = "recognise"
    ) -> "numpy.typing.NDArray[numpy.uint32]":
        """As encode, into a NumPy array of uint32 without a list in between."""
        import numpy

        data = _abi.to_bytes(text)
        cap = len(data) + 16
        while True:
            buf = numpy.empty(cap, dtype=numpy.uint32)
            n = self._encode(data, _flags(add_special, special), buf.ctypes.data, cap)
            if n <= cap:
                return buf[:n]
            cap = n

    def _encode(self, data: bytes, flags: int, address: int, cap: int) -> int:
        n = c.c_size_t(cap)
        _abi.call(_abi.lib.kr_tokenizer_encode, self._live(), data, len(data), flags, address, c.byref(n))
        return n.value

    def count(self, text: Text, *, add_special: bool = False, special: str = "recognise") -> int:
        """The number of ids that encode gives."""
        data = _abi.to_bytes(text)
        n = c.c_size_t()
        flags = _flags(add_special, special)
        _abi.call(_abi.lib.kr_tokenizer_count, self._live(), data, len(data), flags, c.byref(n))
        return n.value

    def count_up_to(self, text: Text, limit: int, *, add_special: bool = False, special: str = "recognise") -> Optional[int]:
        """The number of ids, or None if there are more than limit; the rest of the text is then not encoded."""
        if not 0 <= limit < 1 << 31:
            raise errors.InvalidError(f"limit {limit} is out of range")
        data = _abi.to_bytes(text)
        n = c.c_size_t()
        flags = _flags(add_special, special)
        _abi.call(_abi.lib.kr_tokenizer_count_up_to, self._live(), data, len(data), flags, limit, c.byref(n))
        return n.value if n.value <= limit else None

    async def encode_async(self, text: Text, *, add_special: bool = False, special: str = "recognise") -> List[int]:
        """As encode, on a thread of the event loop's executor."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, lambda: self.encode(text, add_special=add_special, special=special))

    def encode_full(self, text: Text, pair: Optional[Text] = None, **options: Any) -> Encoding:
        """The ids of one text, or of a pair, with offsets; the options are those of encode_full_batch."""
        return self.encode_full_batch([text], None if pair is None else [pair], **options)[0]

    def encode_full_batch(
        self,
        texts: Sequence[Text],
        pairs: Optional[Sequence[Text]] = None,
        *,
        add_special: bool = False,
        special: str = "recognise",
        offsets: str = "char",
        max_tokens: Optional[int] = None,
        stride: int = 0,
        truncate: str = "longest_first",
        truncation_side: str = "right",
        pad: bool = False,
        pad_to: int = 0,
        pad_multiple_of: int = 0,
        pad_id: int = 0,
        pad_type: int = 0,
        padding_side: str = "right",
    ) -> List[Encoding]:
        """Many texts, or pairs of texts, with offsets in characters or bytes, truncated and padded.

        `max_tokens` truncates, what `add_special` adds included; parts cut off share `stride` tokens. `truncate` is
        "longest_first", "only_first" or "only_second". `pad` fills up to `pad_to`, or to the longest of the batch.
        """
        if pairs is not None and len(pairs) != len(texts):
            raise errors.InvalidError(f"{len(pairs)} pairs for {len(texts)} texts")
        p = _abi.EncodeParams(struct_size=c.sizeof(_abi.EncodeParams))
        p.flags = _flags(add_special, special) | _choice("offsets", offsets, {"byte": 0, "char": _abi.CHAR_OFFSETS})
        if max_tokens is not None:
            p.flags |= _abi.TRUNCATE | _choice("truncation_side", truncation_side, {"right": 0, "left": _abi.TRUNCATE_LEFT})
            p.max_tokens, p.stride = _u32("max_tokens", max_tokens), _u32("stride", stride)
            p.strategy = _choice("truncate", truncate, {"longest_first": 0, "only_first": 1, "only_second": 2})
        if pad:
            p.flags |= _abi.PAD | _choice("padding_side", padding_side, {"right": 0, "left": _abi.PAD_LEFT})
            p.pad_to, p.pad_multiple_of = _u32("pad_to", pad_to), _u32("pad_multiple_of", pad_multiple_of)
            p.pad_id, p.pad_type = _u32("pad_id", pad_id), _u32("pad_type", pad_type)
        datas = [_abi.to_bytes(t) for t in texts]
        others = [] if pairs is None else [_abi.to_bytes(t) for t in pairs]
        p.texts = (_abi.Str * len(datas))(*[_abi.Str(d, len(d)) for d in datas])
        p.n_texts = len(datas)
        if pairs is not None:
            p.pairs = (_abi.Str * len(others))(*[_abi.Str(d, len(d)) for d in others])
        return read(p, self._live(), sum(map(len, datas)) // 2 + sum(map(len, others)) // 2 + 16 * len(datas) + 16)

    def appender(self, *, special: str = "recognise") -> Appender:
        """A text that grows, such as a chat, and can be taken back to a mark."""
        return Appender(self, special=special)

    def decoder(self, *, skip_special: bool = False) -> Decoder:
        """A streaming decoder."""
        return Decoder(self, skip_special=skip_special)

    def stats(self, *, reset: bool = False) -> TokenizerStats:
        """What was encoded so far; `reset` sets the counters to zero afterwards."""
        s = _abi.Counters(struct_size=c.sizeof(_abi.Counters))
        _abi.call(_abi.lib.kr_tokenizer_stats, self._live(), int(reset), c.byref(s))
        return TokenizerStats(s.encodes, s.bytes, s.tokens, s.seconds, s.cache_hits, s.cache_misses)

    def encode_batch(
        self, texts: Sequence[Text], *, add_special: bool = False, special: str = "recognise", threads: int = 0
    ) -> List[List[int]]:
        """The ids of many texts, encoded on `threads` threads (0: one per core)."""
        cap = sum(len(t) for t in texts) + 16 * len(texts)
        datas = [_abi.to_bytes(t) for t in texts]
        strs = (_abi.Str * len(datas))(*[_abi.Str(d, len(d)) for d in datas])
        offsets = (c.c_size_t * (len(datas) + 1))()
        while True:
            buf = array.array(_U32, bytes(4 * cap))
            n = self._encode_batch(strs, _flags(add_special, special), threads, buf.buffer_info()[0], cap, offsets)
            if n <= cap:
                return [buf[offsets[i] : offsets[i + 1]].tolist() for i in range(len(datas))]
            cap = n

    def encode_batch_arrays(
        self, texts: Sequence[Text], *, add_special: bool = False, special: str = "recognise", threads: int = 0
    ) -> "Tuple[numpy.typing.NDArray[numpy.uint32], numpy.typing.NDArray[numpy.uint64]]":
        """As encode_batch, as two NumPy arrays: all ids, and offsets; text i is ids[offsets[i]:offsets[i + 1]]."""
        import numpy

        datas = [_abi.to_bytes(t) for t in texts]
        cap = sum(map(len, datas)) + 16 * len(datas)
        strs = (_abi.Str * len(datas))(*[_abi.Str(d, len(d)) for d in datas])
        offsets = numpy.zeros(len(datas) + 1, dtype=numpy.uint64)
        while True:
            buf = numpy.empty(cap, dtype=numpy.uint32)
            n = self._encode_batch(
                strs, _flags(add_special, special), threads, buf.ctypes.data, cap, offsets.ctypes.data_as(c.c_void_p)
            )
            if n <= cap:
                return buf[:n], offsets
            cap = n

    def _encode_batch(self, strs: Any, flags: int, threads: int, address: int, cap: int, offsets: Any) -> int:
        n = c.c_size_t(cap)
        _abi.call(
            _abi.lib.kr_tokenizer_encode_batch,
            self._live(),
            strs,
            len(strs),
            flags,
            threads,
            address,
            c.byref(n),
            c.cast(offsets, c.c_void_p),
        )
        return n.value

    # Ids to text

    def decode(self, ids: Ids, *, skip_special: bool = False) -> str:
        """The text of ids (any sequence of integers or a uint32 array). Ids without a token decode to nothing."""
        view, address, n = _id_buffer(ids)
        flags = _abi.SKIP_SPECIAL if skip_special else 0
        data = _fill(_abi.lib.kr_tokenizer_decode, 8 * n + 16, self._live(), address, n, flags)
        del view  # kept the ids alive
        return data.decode("utf-8", "replace")

    # Chats

    def apply_template(
        self,
        messages: Union[str, Sequence[Message]],
        *,
        tools: Optional[Sequence[Mapping[str, Any]]] = None,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> str:
        """The prompt that the chat template makes of messages; kwargs are further template variables."""
        p = _abi.TemplateParams(struct_size=c.sizeof(_abi.TemplateParams))
        p.flags = 0 if add_generation_prompt else _abi.NO_GENERATION_PROMPT
        p.messages = message_array(messages)
        p.n_messages = 1 if isinstance(messages, str) else len(messages)
        p.tools = json_str(tools)
        p.kwargs = json_str(kwargs or None)
        return _fill(_abi.lib.kr_template_apply, 4096, self._live(), c.byref(p)).decode("utf-8", "replace")


def _flags(add_special: bool, special: str) -> int:
    if special not in _SPECIAL:
        raise errors.InvalidError(f'special is {special!r}, not "recognise", "text" or "refuse"')
    return (_abi.ADD_SPECIAL if add_special else 0) | _SPECIAL[special]


def _choice(name: str, value: str, values: Dict[str, int]) -> int:
    if value not in values:
        raise errors.InvalidError(f"{name} is {value!r}, not one of {', '.join(values)}")
    return values[value]


def _u32(name: str, value: int) -> int:
    if not 0 <= value < 1 << 32:
        raise errors.InvalidError(f"{name} is {value}, out of range")
    return value


def _fill(fn: Any, cap: int, *args: Any, last: Tuple[Any, ...] = ()) -> bytes:
    """Calls a function that fills a buffer of char, again with the size that it asks for if need be."""
    while True:
        buf = c.create_string_buffer(cap)
        n = c.c_size_t(cap)
        if _abi.call(fn, *args, buf, c.byref(n), *last) == _abi.OK:
            return buf.raw[: n.value]
        cap = n.value


def _id_buffer(ids: Ids) -> Tuple[Any, int, int]:
    """Something that holds ids as contiguous uint32, its address and its length."""
    if hasattr(ids, "__array_interface__"):
        import numpy

        given: Any = ids
        if given.dtype.kind not in "iu" or (given.size and (given.min() < 0 or given.max() >= 1 << 32)):
            raise errors.InvalidError("ids must be integers of 32 bits without sign")
        held = numpy.ascontiguousarray(given, dtype=numpy.uint32)
        return held, held.ctypes.data, held.size
    try:
        buf = ids if isinstance(ids, array.array) and ids.typecode == _U32 else array.array(_U32, ids)
    except OverflowError:
        raise errors.InvalidError("ids must be integers of 32 bits without sign") from None
    return buf, buf.buffer_info()[0], len(buf)


def json_str(value: Any) -> _abi.Str:
    """JSON of a value, the empty string for None."""
    return _abi.Str(None, 0) if value is None else _abi.to_str(json.dumps(value, ensure_ascii=False))


def message_array(messages: Union[str, Sequence[Message]]) -> Any:
    """Messages in C: role and content apart, every other field in extra. A plain string is one user message."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    out = (_abi.Message * len(messages))()
    for i, m in enumerate(messages):
        if not isinstance(m, Mapping) or not isinstance(m.get("role"), str):
            raise errors.InvalidError(f'messages[{i}] is not a mapping with a "role"')
        extra: Dict[str, Any] = {k: v for k, v in m.items() if k not in ("role", "content")}
        content = m.get("content", "")
        if not isinstance(content, str):
            extra["content"], content = content, ""
        out[i].role, out[i].content = _abi.to_str(m["role"]), _abi.to_str(content)
        out[i].extra = json_str(extra or None)
    return out
