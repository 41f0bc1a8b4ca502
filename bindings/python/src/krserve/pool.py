"""Keys and values that outlast the requests, and the engine, that computed them."""

from __future__ import annotations

import ctypes as c
import os
from dataclasses import dataclass
from typing import Union

from . import _abi
from ._handle import Handle, i32, i64


@dataclass(frozen=True)
class PoolStats:
    """What a pool holds and has done. Records are blocks of 32 tokens in one of its tiers."""

    bytes: int
    host_records: int
    host_hits: int
    file_records: int
    file_hits: int
    file_written: int
    file_damaged: int
    store_hits: int
    store_written: int
    store_damaged: int
    store_failures: int
    store_down: bool
    unwritten: int


class Pool(Handle):
    """A memory budget that engines share, with tiers below it: `Engine(model, pool=pool)`.

    `host_bytes` is a tier in main memory; `file` one that survives restarts, of `file_bytes` (0: 8 GiB); `store` a Redis or
    Valkey that replicas share, as redis://[user:password@]host[:port][/db], rediss://… or unix://path. No request fails
    for a tier. `tenant_bytes` bounds each tenant, `ttl` (seconds) forgets what was not used for so long, and with
    no_wait a request for which there is no room fails at once. It goes on until its last engine is closed, too.
    """

    _close_name = "kr_pool_close"

    def __init__(
        self,
        *,
        bytes: int = 0,
        tenant_bytes: int = 0,
        ttl: float = 0.0,
        sequences: int = 0,
        no_wait: bool = False,
        host_bytes: int = 0,
        file: Union[str, "os.PathLike[str]"] = "",
        file_bytes: int = 0,
        store: str = "",
        store_timeout: float = 0.0,
    ) -> None:
        super().__init__()
        p = _abi.PoolParams(
            struct_size=c.sizeof(_abi.PoolParams),
            flags=_abi.NO_WAIT if no_wait else 0,
            bytes=i64("bytes", bytes),
            tenant_bytes=i64("tenant_bytes", tenant_bytes),
            ttl_ms=i64("ttl", _milliseconds(ttl)),
            host_bytes=i64("host_bytes", host_bytes),
            file=_abi.to_str(os.fsencode(file)),
            file_bytes=i64("file_bytes", file_bytes),
            store=_abi.to_str(store),
            store_timeout_ms=i32("store_timeout", _milliseconds(store_timeout)),
            sequences=i32("sequences", sequences),
        )
        out = c.c_void_p()
        _abi.call(_abi.lib.kr_pool_open, c.byref(p), c.byref(out))
        self._handle = out.value

    def __enter__(self) -> "Pool":
        return self

    def stats(self) -> PoolStats:
        """What the pool holds and has done so far."""
        s = _abi.PoolCounters(struct_size=c.sizeof(_abi.PoolCounters))
        _abi.call(_abi.lib.kr_pool_stats, self._live(), c.byref(s))
        counts = {name: getattr(s, name) for name in PoolStats.__dataclass_fields__}
        counts["store_down"] = bool(s.store_down)
        return PoolStats(**counts)


def _milliseconds(seconds: float) -> int:
    """At least 1 for what is above 0, which means something else."""
    return max(round(seconds * 1000), 1) if seconds > 0 else round(seconds * 1000)
