"""Notices of the library, silent unless asked for."""

from __future__ import annotations

import ctypes as c
from typing import Any, Callable, Optional

from . import _abi

DEBUG, INFO, WARN, ERROR = -4, 0, 4, 8

_current: Any = _abi.LogFn(0)  # the library holds its address


def set_log(fn: Optional[Callable[[int, str], None]], level: int = INFO) -> None:
    """Calls fn(level, text) for every notice of at least level, on a thread of the library; None for none.

    fn must not call krserve. When set_log returns, the previous function runs no more.
    """
    global _current

    def bridge(_user: Optional[int], severity: int, text: int, n: int) -> None:
        if fn is not None:
            fn(severity, c.string_at(text, n).decode("utf-8", "replace"))

    callback = _abi.LogFn(0) if fn is None else _abi.LogFn(bridge)
    status = _abi.lib.kr_log_set(callback, None, level)
    if status < 0:
        raise _abi.failure(status, _abi.Error())
    _current = callback
