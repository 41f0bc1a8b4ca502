"""Exceptions, one for each failure status of the C interface."""

from __future__ import annotations

from typing import Dict, Type


class KrserveError(Exception):
    """Base of every error of the library. `status` is the number in krserve.h."""

    status: int = -99


class InvalidError(KrserveError, ValueError):
    """An argument is out of range; the text names it."""

    status = -1


class ClosedError(KrserveError):
    """The object, or the engine under the stream, is closed."""

    status = -2


class NotFoundError(KrserveError, FileNotFoundError):
    """No such file or model, or not in the cache and not to be fetched."""

    status = -4

    def __str__(self) -> str:
        return str(self.args[0])


class FormatError(KrserveError, ValueError):
    """The file is damaged or of an unknown kind."""

    status = -5


class UnsupportedError(KrserveError):
    """A model, storage type, backend or kernel that this build lacks."""

    status = -6


class ContextLengthError(KrserveError, ValueError):
    """The prompt leaves no room for an answer."""

    status = -7


class NoTemplateError(KrserveError):
    """A chat on a model without a chat template; use complete instead."""

    status = -8


class TemplateError(KrserveError, ValueError):
    """The chat template rejects the messages."""

    status = -9


class OutOfMemoryError(KrserveError, MemoryError):
    """The model does not fit the memory that it may use."""

    status = -10


class BackendError(KrserveError):
    """A step failed in the backend."""

    status = -11


class CancelledError(KrserveError):
    """The stream was cancelled."""

    status = -12


class InputOutputError(KrserveError, OSError):
    """The file system or the network failed."""

    status = -13

    def __str__(self) -> str:
        return str(self.args[0])


class BusyError(KrserveError):
    """Too many requests are waiting; try again later."""

    status = -14


class InternalError(KrserveError):
    """A defect of the library; the text says where."""

    status = -99


by_status: Dict[int, Type[KrserveError]] = {
    cls.status: cls
    for cls in (
        InvalidError,
        ClosedError,
        NotFoundError,
        FormatError,
        UnsupportedError,
        ContextLengthError,
        NoTemplateError,
        TemplateError,
        OutOfMemoryError,
        BackendError,
        CancelledError,
        InputOutputError,
        BusyError,
        InternalError,
    )
}
