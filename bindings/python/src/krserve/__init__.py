"""Language models inside your process.

    import krserve

    with krserve.Engine("smollm2.gguf") as engine:
        print(engine.chat("What is the capital of Japan?", max_tokens=50))
        for piece in engine.stream("Count to ten.", temperature=0.7):
            print(piece, end="", flush=True)

Objects are safe to share between threads, a Stream excepted. The library holds a Go runtime, which does not survive
fork: with multiprocessing use the "spawn" start method; a forked child gets an error.
"""

from ._abi import lib as _lib
from .encoding import Appender, Decoder, Encoding, TokenizerStats
from .engine import Answer, Engine, Stats, Stream, Token, Usage
from .errors import (
    BackendError,
    BusyError,
    CancelledError,
    ClosedError,
    ContextLengthError,
    FormatError,
    InputOutputError,
    InternalError,
    InvalidError,
    KrserveError,
    NotFoundError,
    NoTemplateError,
    OutOfMemoryError,
    TemplateError,
    UnsupportedError,
)
from .log import set_log
from .pool import Pool, PoolStats
from .tokenizer import Tokenizer

__version__ = _lib.kr_version().decode()

__all__ = [
    "Answer",
    "Appender",
    "BackendError",
    "BusyError",
    "CancelledError",
    "ClosedError",
    "ContextLengthError",
    "Decoder",
    "Encoding",
    "Engine",
    "FormatError",
    "InputOutputError",
    "InternalError",
    "InvalidError",
    "KrserveError",
    "NoTemplateError",
    "NotFoundError",
    "OutOfMemoryError",
    "Pool",
    "PoolStats",
    "Stats",
    "Stream",
    "TemplateError",
    "Token",
    "Tokenizer",
    "TokenizerStats",
    "UnsupportedError",
    "Usage",
    "set_log",
]
