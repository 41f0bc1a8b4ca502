"""A model that answers, and its answers."""

from __future__ import annotations

import ctypes as c
import os
from dataclasses import dataclass
from typing import Any, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from . import _abi, errors
from ._handle import Handle, i32, i64
from .pool import Pool
from .tokenizer import Ids, Message, Tokenizer, _id_buffer, json_str, message_array

_FINISH = (None, "stop", "length", "cancelled", "error")

# How long one wait inside the library lasts, in milliseconds: the longest that Ctrl-C goes unnoticed.
_SLICE = 100


@dataclass(frozen=True)
class Usage:
    """Token counts of one request; cached_tokens are those of the prompt whose keys and values were already held."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Stats:
    """What an engine holds and has done."""

    backend: str
    threads: int
    context_tokens: int
    running: int
    waiting: int
    weight_bytes: int
    kv_bytes: int
    scratch_bytes: int
    steps: int
    rows: int
    step_seconds: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    restored_tokens: int
    draft_tokens: int
    accepted_tokens: int
    preemptions: int


class Token(str):
    """A piece of an answer's text, often one word. It is a str, with more to say about itself:

    id       the token's number
    logprob  its natural log-probability, if asked for with logprobs
    top      the best tokens at its place as (id, logprob), best first
    """

    id: int
    logprob: Optional[float]
    top: List[Tuple[int, float]]

    def __new__(cls, text: str, id: int, logprob: Optional[float] = None, top: Sequence[Tuple[int, float]] = ()) -> "Token":
        t = super().__new__(cls, text)
        t.id, t.logprob, t.top = id, logprob, list(top)
        return t


class Answer(str):
    """The text of an answer. It is a str, with how it came about:

    tokens         its tokens; their texts joined are the answer
    finish_reason  "stop", "length", "cancelled" or "error"
    usage          token counts
    seed           the seed in use
    """

    tokens: List[Token]
    finish_reason: Optional[str]
    usage: Usage
    seed: int


class Stream(Handle):
    """An answer in the making: an iterator of Token, for one thread at a time.

    Leaving a with block, close, an exception in the loop and Ctrl-C all cancel it; cancel may come from any thread.
    finish_reason, usage and seed are there once it has ended.
    """

    _close_name = "kr_stream_close"

    def __init__(self, handle: int, logprobs: bool) -> None:
        super().__init__()
        self._handle = handle
        self._logprobs = logprobs
        self._buf = c.create_string_buffer(256)
        self._top = (_abi.LogProb * 20)()
        self.finish_reason: Optional[str] = None
        self.usage = Usage()
        self.seed = 0
        self._ended = False

    def __enter__(self) -> "Stream":
        return self

    def __iter__(self) -> Iterator[Token]:
        return self

    def __next__(self) -> Token:
        if self._ended:
            raise StopIteration
        tok = _abi.Token(struct_size=c.sizeof(_abi.Token), top=self._top, top_cap=20)
        try:
            while True:
                tok.text, tok.text_cap = c.addressof(self._buf), len(self._buf)
                status = _abi.call(_abi.lib.kr_stream_next, self._live(), c.byref(tok), _SLICE)
                if status == _abi.OK:
                    self.seed = tok.seed
                    return Token(
                        self._buf.raw[: tok.text_len].decode("utf-8", "replace"),
                        tok.id,
                        tok.logprob if self._logprobs else None,
                        [(p.id, p.logprob) for p in self._top[: tok.top_len]],
                    )
                if status == _abi.BUFFER:
                    self._buf = c.create_string_buffer(tok.text_len)
                elif status == _abi.DONE:
                    self._end(tok)
                    self.close()
                    raise StopIteration
        except StopIteration:
            raise
        except BaseException:  # KeyboardInterrupt, too: what is not read need not be computed
            if tok.finish:
                self._end(tok)
            self._ended = True
            self.close()
            raise

    def _end(self, tok: _abi.Token) -> None:
        self._ended = True
        self.finish_reason = _FINISH[tok.finish]
        self.usage = Usage(tok.prompt_tokens, tok.cached_tokens, tok.completion_tokens)
        self.seed = tok.seed

    def cancel(self) -> None:
        """Ends the answer within one step. A reader gets CancelledError. Any thread may call this."""
        handle = self._handle
        if handle is not None:
            _abi.lib.kr_stream_cancel(handle)

    def answer(self) -> Answer:
        """Reads what is left and returns it."""
        tokens = list(self)
        out = Answer("".join(tokens))
        out.tokens, out.finish_reason, out.usage, out.seed = tokens, self.finish_reason, self.usage, self.seed
        return out


class Engine(Handle):
    """A model, ready to answer. Safe to use from many threads at once.

    `model` is a GGUF file, a model directory, or a name such as "smollm2" or "hf:ORG/REPO"; a name that the cache lacks is
    fetched only with fetch=True. Zero and "" are the defaults everywhere. `kv_type` is how keys and values are stored: f16,
    q8_0 or q4. `activation_bits=8` reads prompts faster and answers less exactly than 16. `pool` is shared with other
    engines, or has tiers that keep prefixes longer than the engine's memory lasts. `prepared_dir` keeps the tokenizer compiled
    and the weights packed as the CPU takes them: later engines open and decode faster and answer the same. Packed weights
    are as large as the model; packed_weights=False leaves them out.
    """

    _close_name = "kr_engine_close"

    def __init__(
        self,
        model: Union[str, "os.PathLike[str]"],
        *,
        backend: str = "",
        kernel: str = "",
        threads: int = 0,
        context_tokens: int = 0,
        kv_bytes: int = 0,
        tokenizer: Optional[Tokenizer] = None,
        fetch: bool = False,
        offline: bool = False,
        cache_dir: Union[str, "os.PathLike[str]"] = "",
        hub_endpoint: str = "",
        hub_token: str = "",
        kv_type: str = "",
        activation_bits: int = 0,
        pool: Optional[Pool] = None,
        prepared_dir: Union[str, "os.PathLike[str]"] = "",
        packed_weights: bool = True,
    ) -> None:
        super().__init__()
        p = _abi.EngineParams(
            struct_size=c.sizeof(_abi.EngineParams),
            threads=i32("threads", threads),
            model=_abi.to_str(os.fsencode(model)),
            backend=_abi.to_str(backend),
            kernel=_abi.to_str(kernel),
            kv_bytes=i64("kv_bytes", kv_bytes),
            context_tokens=i32("context_tokens", context_tokens),
            flags=(_abi.FETCH if fetch else 0) | (_abi.OFFLINE if offline else 0) | (0 if packed_weights else _abi.NO_PACKED_WEIGHTS),
            tokenizer=tokenizer._live() if tokenizer is not None else None,
            cache_dir=_abi.to_str(os.fsencode(cache_dir)),
            hub_endpoint=_abi.to_str(hub_endpoint),
            hub_token=_abi.to_str(hub_token),
            kv_type=_abi.to_str(kv_type),
            pool=pool._live() if pool is not None else None,
            activation_bits=i32("activation_bits", activation_bits),
            prepared_dir=_abi.to_str(os.fsencode(prepared_dir)),
        )
        out = c.c_void_p()
        _abi.call(_abi.lib.kr_engine_open, c.byref(p), c.byref(out))
        self._handle = out.value
        tok = c.c_void_p()
        _abi.call(_abi.lib.kr_engine_tokenizer, self._handle, c.byref(tok))
        self.tokenizer = Tokenizer._of(tok)

    def __enter__(self) -> "Engine":
        return self

    def chat(self, messages: Union[str, Sequence[Message]], **options: Any) -> Answer:
        """The answer to a chat: a list of {"role", "content"} mappings, or one user message as a plain string.

        Options are those of stream.
        """
        with self.stream(messages, **options) as s:
            return s.answer()

    def complete(self, prompt: Union[str, Ids], **options: Any) -> Answer:
        """The continuation of a text, or of token ids, without a chat template. Options are those of stream."""
        with self.stream(prompt=prompt, **options) as s:
            return s.answer()

    def stream(
        self,
        messages: Union[str, Sequence[Message], None] = None,
        *,
        prompt: Union[str, Ids, None] = None,
        max_tokens: int = 0,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 0.0,
        min_p: float = 0.0,
        repetition_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        logit_bias: Optional[Mapping[int, float]] = None,
        seed: int = 0,
        choice: int = 0,
        stop: Union[str, Sequence[str]] = (),
        stop_ids: Sequence[int] = (),
        ignore_eos: bool = False,
        logprobs: Optional[int] = None,
        tools: Optional[Sequence[Mapping[str, Any]]] = None,
        template: Optional[Mapping[str, Any]] = None,
        allow_special: bool = False,
        tenant: str = "",
        priority: int = 0,
    ) -> Stream:
        """Starts an answer to messages (a chat) or prompt (plain text or ids) and returns its Stream.

        All defaults together are greedy decoding until the model stops or the context ends. `logprobs=n` reports
        log-probabilities, with those of the n best tokens. `template` holds further variables for the chat template.
        `allow_special` recognises special tokens spelled in the content of messages. A request finds cached prefixes of its
        own `tenant` only; those of higher `priority` come first and push lower ones out.
        """
        if (messages is None) == (prompt is None):
            raise errors.InvalidError("give messages or prompt, and not both")
        r = _abi.Request(
            struct_size=c.sizeof(_abi.Request),
            max_tokens=i32("max_tokens", max_tokens),
            temperature=temperature,
            top_k=i32("top_k", top_k),
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            seed=_unsigned("seed", seed, 64),
            choice=_unsigned("choice", choice, 32),
            tenant=_abi.to_str(tenant),
            priority=i32("priority", priority),
        )
        keep: List[Any] = []  # what r points to, until the call has copied it
        if allow_special:
            r.flags |= _abi.ALLOW_SPECIAL
        if ignore_eos:
            r.flags |= _abi.IGNORE_EOS
        if logprobs is not None:
            r.flags |= _abi.LOGPROBS
            r.top_logprobs = i32("logprobs", logprobs)
        if messages is not None:
            r.messages = message_array(messages)
            r.n_messages = 1 if isinstance(messages, str) else len(messages)
        elif isinstance(prompt, (str, bytes)):
            r.raw = _abi.to_str(prompt)
        elif prompt is not None:
            buf, address, r.n_prompt = _id_buffer(prompt)
            keep.append(buf)
            r.prompt = c.cast(c.c_void_p(address), c.POINTER(c.c_uint32))
        r.tools, r.kwargs = json_str(tools), json_str(template)
        if logit_bias:
            pairs = [_abi.LogitBias(_unsigned("logit_bias", i, 32), b) for i, b in logit_bias.items()]
            r.logit_bias, r.n_logit_bias = (_abi.LogitBias * len(pairs))(*pairs), len(pairs)
        stops = [_abi.to_str(s) for s in ([stop] if isinstance(stop, str) else stop)]
        if stops:
            r.stop, r.n_stop = (_abi.Str * len(stops))(*stops), len(stops)
        if len(stop_ids):
            buf, address, r.n_stop_ids = _id_buffer(stop_ids)
            keep.append(buf)
            r.stop_ids = c.cast(c.c_void_p(address), c.POINTER(c.c_uint32))
        out = c.c_void_p()
        _abi.call(_abi.lib.kr_engine_start, self._live(), c.byref(r), c.byref(out))
        del keep
        return Stream(out.value or 0, logprobs is not None)

    def stats(self) -> Stats:
        """What the engine holds and has done so far."""
        s = _abi.Stats(struct_size=c.sizeof(_abi.Stats))
        _abi.call(_abi.lib.kr_engine_stats, self._live(), c.byref(s))
        return Stats(
            s.backend.decode(),
            s.threads,
            s.context_tokens,
            s.running,
            s.waiting,
            s.weight_bytes,
            s.kv_bytes,
            s.scratch_bytes,
            s.steps,
            s.rows,
            s.step_seconds,
            s.prompt_tokens,
            s.cached_tokens,
            s.completion_tokens,
            s.restored_tokens,
            s.draft_tokens,
            s.accepted_tokens,
            s.preemptions,
        )


def _unsigned(name: str, value: int, bits: int) -> int:
    if not 0 <= value < 1 << bits:
        raise errors.InvalidError(f"{name} is {value}, not an integer of {bits} bits without sign")
    return value
