import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Iterator

import krserve
import pytest

PROMPT = "The quick brown fox jumps over the lazy dog. " * 20


def answer(model: Path, pool: krserve.Pool, **options: object) -> "tuple[krserve.Answer, krserve.Stats]":
    with krserve.Engine(model, context_tokens=512, pool=pool) as engine:
        return engine.complete(PROMPT, max_tokens=12, ignore_eos=True, **options), engine.stats()


def test_file(model: Path, tmp_path: Path) -> None:
    with krserve.Pool(file=tmp_path / "kv", file_bytes=64 << 20) as pool:
        cold, stats = answer(model, pool)
        assert cold.usage.cached_tokens == 0 and stats.restored_tokens == 0
        with pytest.raises(krserve.KrserveError):
            krserve.Pool(file=tmp_path / "kv")  # one pool at a time
    with krserve.Pool(file=tmp_path / "kv", file_bytes=64 << 20) as pool:  # as after a restart
        warm, stats = answer(model, pool)
        assert warm == cold
        assert stats.restored_tokens == warm.usage.cached_tokens == (warm.usage.prompt_tokens - 1) // 32 * 32
        tiers = pool.stats()
        assert tiers.file_hits == stats.restored_tokens // 32 and tiers.file_damaged == 0
        other, _ = answer(model, pool, tenant="other")
        assert other == cold and other.usage.cached_tokens == 0


def test_host(model: Path) -> None:
    with krserve.Pool(host_bytes=64 << 20) as pool:
        cold, _ = answer(model, pool)
        warm, stats = answer(model, pool)  # a new engine on the same pool
        assert warm == cold and stats.restored_tokens > 0
        assert pool.stats().host_hits == stats.restored_tokens // 32


@pytest.fixture
def redis() -> Iterator["tuple[str, subprocess.Popen[bytes]]"]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    assert program, "no redis-server: run `make testdata`"
    with tempfile.TemporaryDirectory(prefix="kv") as folder:
        path = f"{folder}/s"
        command = [program, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            for _ in range(600):
                if Path(path).exists():
                    break
                time.sleep(0.05)
            yield f"unix://{path}", server
            server.kill()


def test_store(model: Path, redis: "tuple[str, subprocess.Popen[bytes]]", capfd: pytest.CaptureFixture[str]) -> None:
    url, server = redis
    with krserve.Pool(store=url, store_timeout=30) as pool:
        cold, _ = answer(model, pool)
    with krserve.Pool(store=url, store_timeout=30) as pool:  # another replica
        warm, stats = answer(model, pool)
        assert warm == cold and stats.restored_tokens > 0 and pool.stats().store_hits == stats.restored_tokens // 32
    server.kill()
    server.wait()
    with krserve.Pool(store=url) as pool:
        again, stats = answer(model, pool)
        assert again == cold and stats.restored_tokens == 0 and pool.stats().store_failures > 0
    assert capfd.readouterr().err == ""


def test_shared(model: Path) -> None:
    pool = krserve.Pool(bytes=64 << 20)
    with krserve.Engine(model, context_tokens=256, pool=pool) as a, krserve.Engine(model, context_tokens=256, pool=pool) as b:
        want = a.complete("One, two, three,", max_tokens=6)
        assert b.complete("One, two, three,", max_tokens=6, priority=3) == want
        assert 0 < pool.stats().bytes <= 64 << 20
        pool.close()
        assert a.complete("One, two, three,", max_tokens=6) == want  # the engines keep it
        with pytest.raises(krserve.ClosedError):
            krserve.Engine(model, pool=pool)


def test_numbers(model: Path, engine: krserve.Engine) -> None:
    want = engine.complete(PROMPT, max_tokens=4, logprobs=0)
    for options in ({"activation_bits": 8}, {"activation_bits": 16}, {"kv_type": "q8_0"}, {"kv_type": "q4"}):
        with krserve.Engine(model, context_tokens=512, **options) as other:
            got = other.complete(PROMPT, max_tokens=4, logprobs=0)
            same = [t.logprob for t in got.tokens] == [t.logprob for t in want.tokens]
            assert same == (options.get("activation_bits") == 16), options


def test_bad_pools(model: Path, tmp_path: Path) -> None:
    for options in (
        {"bytes": -1},
        {"host_bytes": -1},
        {"file_bytes": 1 << 30},
        {"ttl": -1.0},
        {"store": "ftp://example.test"},
        {"store": "redis://user:secret@[::1"},
        {"sequences": 1 << 40},
    ):
        with pytest.raises(krserve.InvalidError) as e:
            krserve.Pool(**options)
        assert "secret" not in str(e.value)
    with pytest.raises(krserve.NotFoundError):
        krserve.Pool(file=tmp_path / "no" / "such" / "folder")
    for wrong in ({"activation_bits": 7}, {"kv_type": "q3"}):
        with pytest.raises(krserve.InvalidError):
            krserve.Engine(model, **wrong)
