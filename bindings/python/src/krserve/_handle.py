"""Library objects and how they are closed."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Optional, Type

from . import _abi, errors


class Handle:
    """A library object: closed once, by close, a with block or the garbage collector."""

    _close_name = ""

    def __init__(self) -> None:
        self._handle: Optional[int] = None
        self._closing = threading.Lock()

    def close(self) -> None:
        """Frees the object. Closing again does nothing; using it afterwards raises ClosedError."""
        with self._closing:
            handle, self._handle = self._handle, None
        if handle and not _abi.forked():
            getattr(_abi.lib, self._close_name)(handle)

    def _live(self) -> int:
        handle = self._handle
        if handle is None:
            raise errors.ClosedError(f"the {type(self).__name__} is closed")
        return handle

    def __enter__(self) -> "Handle":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) and _abi is not None:
            self.close()


def i32(name: str, value: int) -> int:
    """value, if it is a 32-bit integer."""
    return _signed(name, value, 32)


def i64(name: str, value: int) -> int:
    """value, if it is a 64-bit integer."""
    return _signed(name, value, 64)


def _signed(name: str, value: int, bits: int) -> int:
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise errors.InvalidError(f"{name} is {value}, out of range")
    return value
