"""krserve.h in ctypes: structs, prototypes and the loaded library. Nothing here is public."""

from __future__ import annotations

import ctypes as c
import os
import sys
from pathlib import Path
from typing import Any, Callable, List, Tuple, Union

from . import errors

ABI_VERSION = 1

OK, DONE, TIMEOUT, BUFFER = 0, 1, 2, -3
NO_ID = 0xFFFFFFFF

ADD_SPECIAL, SPECIAL_TEXT, SPECIAL_REFUSE, SKIP_SPECIAL = 1, 2, 4, 8
CHAR_OFFSETS, TRUNCATE, TRUNCATE_LEFT, PAD, PAD_LEFT = 16, 32, 64, 128, 256
NO_GENERATION_PROMPT = 1
FETCH, OFFLINE, NO_PACKED_WEIGHTS = 1, 2, 4
ALLOW_SPECIAL, IGNORE_EOS, LOGPROBS = 1, 2, 4
NO_WAIT = 1


class Error(c.Structure):
    _fields_ = [("code", c.c_int32), ("message", c.c_char * 252)]


class Str(c.Structure):
    _fields_ = [("data", c.c_char_p), ("len", c.c_size_t)]


class TokenizerParams(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("threads", c.c_int32),
        ("path", Str),
        ("data", c.c_char_p),
        ("len", c.c_size_t),
        ("cache_bytes", c.c_int64),
        ("min_parallel_bytes", c.c_int64),
        ("prepared_dir", Str),
    ]


class TokenizerInfo(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("size", c.c_uint32),
        ("bos", c.c_uint32),
        ("eos", c.c_uint32),
        ("end_ids", c.c_uint32 * 16),
        ("n_end_ids", c.c_uint32),
        ("has_template", c.c_uint32),
    ]


class EncodeParams(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("flags", c.c_uint32),
        ("texts", c.POINTER(Str)),
        ("pairs", c.POINTER(Str)),
        ("n_texts", c.c_size_t),
        ("max_tokens", c.c_uint32),
        ("stride", c.c_uint32),
        ("strategy", c.c_uint32),
        ("pad_to", c.c_uint32),
        ("pad_multiple_of", c.c_uint32),
        ("pad_id", c.c_uint32),
        ("pad_type", c.c_uint32),
        ("reserved", c.c_uint32),
    ]


class Encoding(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("reserved", c.c_uint32),
        ("cap", c.c_size_t),
        ("n", c.c_size_t),
        ("ids", c.c_void_p),
        ("types", c.c_void_p),
        ("begins", c.c_void_p),
        ("ends", c.c_void_p),
        ("words", c.c_void_p),
        ("marks", c.c_void_p),
        ("parts_cap", c.c_size_t),
        ("n_parts", c.c_size_t),
        ("parts", c.c_void_p),
        ("part_texts", c.c_void_p),
    ]


class Counters(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("reserved", c.c_uint32),
        ("encodes", c.c_uint64),
        ("bytes", c.c_uint64),
        ("tokens", c.c_uint64),
        ("seconds", c.c_double),
        ("cache_hits", c.c_uint64),
        ("cache_misses", c.c_uint64),
    ]


class Message(c.Structure):
    _fields_ = [("role", Str), ("content", Str), ("extra", Str)]


class TemplateParams(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("flags", c.c_uint32),
        ("messages", c.POINTER(Message)),
        ("n_messages", c.c_size_t),
        ("tools", Str),
        ("kwargs", Str),
    ]


class EngineParams(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("threads", c.c_int32),
        ("model", Str),
        ("backend", Str),
        ("kernel", Str),
        ("kv_bytes", c.c_int64),
        ("context_tokens", c.c_int32),
        ("flags", c.c_uint32),
        ("tokenizer", c.c_void_p),
        ("cache_dir", Str),
        ("hub_endpoint", Str),
        ("hub_token", Str),
        ("kv_type", Str),
        ("pool", c.c_void_p),
        ("activation_bits", c.c_int32),
        ("reserved", c.c_uint32),
        ("prepared_dir", Str),
    ]


class PoolParams(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("flags", c.c_uint32),
        ("bytes", c.c_int64),
        ("tenant_bytes", c.c_int64),
        ("ttl_ms", c.c_int64),
        ("host_bytes", c.c_int64),
        ("file", Str),
        ("file_bytes", c.c_int64),
        ("store", Str),
        ("store_timeout_ms", c.c_int32),
        ("sequences", c.c_int32),
    ]


class PoolCounters(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("store_down", c.c_uint32),
        ("bytes", c.c_uint64),
        ("host_records", c.c_uint64),
        ("host_hits", c.c_uint64),
        ("file_records", c.c_uint64),
        ("file_hits", c.c_uint64),
        ("file_written", c.c_uint64),
        ("file_damaged", c.c_uint64),
        ("store_hits", c.c_uint64),
        ("store_written", c.c_uint64),
        ("store_damaged", c.c_uint64),
        ("store_failures", c.c_uint64),
        ("unwritten", c.c_uint64),
    ]


class LogitBias(c.Structure):
    _fields_ = [("id", c.c_uint32), ("bias", c.c_float)]


class Request(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("flags", c.c_uint32),
        ("messages", c.POINTER(Message)),
        ("n_messages", c.c_size_t),
        ("raw", Str),
        ("prompt", c.POINTER(c.c_uint32)),
        ("n_prompt", c.c_size_t),
        ("tools", Str),
        ("kwargs", Str),
        ("max_tokens", c.c_int32),
        ("temperature", c.c_float),
        ("top_k", c.c_int32),
        ("top_p", c.c_float),
        ("min_p", c.c_float),
        ("repetition_penalty", c.c_float),
        ("presence_penalty", c.c_float),
        ("frequency_penalty", c.c_float),
        ("seed", c.c_uint64),
        ("choice", c.c_uint32),
        ("top_logprobs", c.c_int32),
        ("logit_bias", c.POINTER(LogitBias)),
        ("n_logit_bias", c.c_size_t),
        ("stop", c.POINTER(Str)),
        ("n_stop", c.c_size_t),
        ("stop_ids", c.POINTER(c.c_uint32)),
        ("n_stop_ids", c.c_size_t),
        ("tenant", Str),
        ("priority", c.c_int32),
        ("reserved", c.c_uint32),
    ]


class Stats(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("threads", c.c_int32),
        ("backend", c.c_char * 32),
        ("context_tokens", c.c_uint32),
        ("running", c.c_uint32),
        ("waiting", c.c_uint32),
        ("reserved", c.c_uint32),
        ("weight_bytes", c.c_uint64),
        ("kv_bytes", c.c_uint64),
        ("scratch_bytes", c.c_uint64),
        ("steps", c.c_uint64),
        ("rows", c.c_uint64),
        ("step_seconds", c.c_double),
        ("prompt_tokens", c.c_uint64),
        ("cached_tokens", c.c_uint64),
        ("completion_tokens", c.c_uint64),
        ("restored_tokens", c.c_uint64),
        ("draft_tokens", c.c_uint64),
        ("accepted_tokens", c.c_uint64),
        ("preemptions", c.c_uint64),
    ]


class LogProb(c.Structure):
    _fields_ = [("id", c.c_uint32), ("logprob", c.c_float)]


class Token(c.Structure):
    _fields_ = [
        ("struct_size", c.c_uint32),
        ("id", c.c_uint32),
        ("logprob", c.c_float),
        ("finish", c.c_int32),
        ("text", c.c_void_p),
        ("text_cap", c.c_size_t),
        ("text_len", c.c_size_t),
        ("top", c.POINTER(LogProb)),
        ("top_cap", c.c_size_t),
        ("top_len", c.c_size_t),
        ("seed", c.c_uint64),
        ("prompt_tokens", c.c_uint32),
        ("cached_tokens", c.c_uint32),
        ("completion_tokens", c.c_uint32),
        ("reserved", c.c_uint32),
    ]


LogFn = c.CFUNCTYPE(None, c.c_void_p, c.c_int32, c.c_void_p, c.c_size_t)

_H, _E = c.c_void_p, c.POINTER(Error)
_SIZE, _U32P, _SIZEP = c.c_size_t, c.c_void_p, c.POINTER(c.c_size_t)

_PROTOTYPES: List[Tuple[str, Any, List[Any]]] = [
    ("kr_version", c.c_char_p, []),
    ("kr_version_number", c.c_uint32, []),
    ("kr_abi_version", c.c_uint32, []),
    ("kr_status_name", c.c_char_p, [c.c_int32]),
    ("kr_tokenizer_open", c.c_int32, [c.c_char_p, _SIZE, c.POINTER(_H), _E]),
    ("kr_tokenizer_open_bytes", c.c_int32, [c.c_char_p, _SIZE, c.POINTER(_H), _E]),
    ("kr_tokenizer_open_params", c.c_int32, [c.POINTER(TokenizerParams), c.POINTER(_H), _E]),
    ("kr_tokenizer_close", c.c_int32, [_H]),
    ("kr_tokenizer_encode", c.c_int32, [_H, c.c_char_p, _SIZE, c.c_uint32, _U32P, _SIZEP, _E]),
    (
        "kr_tokenizer_encode_batch",
        c.c_int32,
        [_H, c.POINTER(Str), _SIZE, c.c_uint32, c.c_int32, _U32P, _SIZEP, c.c_void_p, _E],
    ),
    ("kr_tokenizer_count", c.c_int32, [_H, c.c_char_p, _SIZE, c.c_uint32, _SIZEP, _E]),
    ("kr_tokenizer_count_up_to", c.c_int32, [_H, c.c_char_p, _SIZE, c.c_uint32, _SIZE, _SIZEP, _E]),
    ("kr_tokenizer_encode_full", c.c_int32, [_H, c.POINTER(EncodeParams), c.POINTER(Encoding), _E]),
    ("kr_tokenizer_stats", c.c_int32, [_H, c.c_int32, c.POINTER(Counters), _E]),
    ("kr_decoder_open", c.c_int32, [_H, c.c_uint32, c.POINTER(_H), _E]),
    ("kr_decoder_next", c.c_int32, [_H, _U32P, _SIZE, c.c_int32, c.c_void_p, _SIZEP, _E]),
    ("kr_decoder_close", c.c_int32, [_H]),
    ("kr_appender_open", c.c_int32, [_H, c.c_uint32, c.POINTER(_H), _E]),
    ("kr_appender_add", c.c_int32, [_H, c.c_char_p, _SIZE, c.c_uint32, c.POINTER(c.c_uint64), _SIZEP, _E]),
    ("kr_appender_ids", c.c_int32, [_H, _SIZE, _U32P, _SIZEP, _E]),
    ("kr_appender_undo", c.c_int32, [_H, c.c_uint64, _SIZEP, _E]),
    ("kr_appender_close", c.c_int32, [_H]),
    ("kr_tokenizer_decode", c.c_int32, [_H, _U32P, _SIZE, c.c_uint32, c.c_void_p, _SIZEP, _E]),
    ("kr_tokenizer_describe", c.c_int32, [_H, c.POINTER(TokenizerInfo), _E]),
    ("kr_tokenizer_token_id", c.c_int32, [_H, c.c_char_p, _SIZE, c.POINTER(c.c_uint32), _E]),
    ("kr_tokenizer_piece", c.c_int32, [_H, c.c_uint32, c.c_void_p, _SIZEP, c.POINTER(c.c_int32), _E]),
    ("kr_template_apply", c.c_int32, [_H, c.POINTER(TemplateParams), c.c_void_p, _SIZEP, _E]),
    ("kr_pool_open", c.c_int32, [c.POINTER(PoolParams), c.POINTER(_H), _E]),
    ("kr_pool_stats", c.c_int32, [_H, c.POINTER(PoolCounters), _E]),
    ("kr_pool_close", c.c_int32, [_H]),
    ("kr_engine_open", c.c_int32, [c.POINTER(EngineParams), c.POINTER(_H), _E]),
    ("kr_engine_close", c.c_int32, [_H]),
    ("kr_engine_tokenizer", c.c_int32, [_H, c.POINTER(_H), _E]),
    ("kr_engine_start", c.c_int32, [_H, c.POINTER(Request), c.POINTER(_H), _E]),
    ("kr_engine_stats", c.c_int32, [_H, c.POINTER(Stats), _E]),
    ("kr_stream_next", c.c_int32, [_H, c.POINTER(Token), c.c_int32, _E]),
    ("kr_stream_cancel", c.c_int32, [_H]),
    ("kr_stream_close", c.c_int32, [_H]),
    ("kr_log_set", c.c_int32, [LogFn, c.c_void_p, c.c_int32]),
]


def _load() -> c.CDLL:
    name = {"darwin": "libkrserve.dylib", "win32": "krserve.dll"}.get(sys.platform, "libkrserve.so")
    path = Path(__file__).parent / name
    if not path.is_file():
        raise ImportError(f"{name} is not beside {Path(__file__).name}; install with `pip install ./bindings/python`, which builds it")
    lib = c.CDLL(str(path))  # CDLL calls release the GIL
    for fn, restype, argtypes in _PROTOTYPES:
        f = getattr(lib, fn)
        f.restype, f.argtypes = restype, argtypes
    if lib.kr_abi_version() != ABI_VERSION:
        raise ImportError(f"{path} has ABI {lib.kr_abi_version()}, this package needs {ABI_VERSION}")
    return lib


lib = _load()

# The Go runtime inside the library does not survive fork: only the forking thread would go on.
_forked = False


def _mark_forked() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked)


def forked() -> bool:
    return _forked


def failure(status: int, err: Error) -> errors.KrserveError:
    """The exception for a failed call."""
    text = err.message.decode("utf-8", "replace") or lib.kr_status_name(status).decode()
    e = errors.by_status.get(status, errors.InternalError)(text)
    e.status = status
    return e


def call(fn: Callable[..., int], *args: Any) -> int:
    """Calls a function with args and a kr_error; returns the status, raises on failure except KR_ERR_BUFFER."""
    if _forked:
        raise errors.KrserveError("krserve cannot be used in a forked child; start the process with spawn")
    err = Error()
    status = fn(*args, c.byref(err))
    if status < 0 and status != BUFFER:
        raise failure(status, err)
    return status


def to_bytes(text: Union[str, bytes]) -> bytes:
    """UTF-8; a lone surrogate becomes bytes that the library reads as U+FFFD."""
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    raise TypeError(f"text must be str or bytes, not {type(text).__name__}")


def to_str(text: Union[str, bytes]) -> Str:
    """A kr_str; ctypes keeps the bytes alive with it."""
    data = to_bytes(text)
    return Str(data, len(data))
