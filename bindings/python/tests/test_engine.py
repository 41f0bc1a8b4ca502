import threading
import time
from pathlib import Path

import krserve
import pytest


def test_chat(engine: krserve.Engine) -> None:
    answer = engine.chat("What is the capital of Japan?", max_tokens=50)
    assert "Tokyo" in answer and isinstance(answer, str)
    assert answer.finish_reason in ("stop", "length")
    assert "".join(answer.tokens) == answer
    assert answer.usage.prompt_tokens > 10
    assert answer.usage.completion_tokens == len(answer.tokens) <= 50
    same = engine.chat([{"role": "user", "content": "What is the capital of Japan?"}], max_tokens=50)
    assert same == answer  # greedy by default


def test_stream(engine: krserve.Engine) -> None:
    want = engine.chat("Name three colours.", max_tokens=24)
    stream = engine.stream("Name three colours.", max_tokens=24, logprobs=3)
    tokens = list(stream)
    assert "".join(tokens) == want
    for t in tokens:
        assert t.logprob is not None and t.logprob <= 0 and len(t.top) == 3
        assert t.top[0] == (t.id, t.logprob)
    assert stream.finish_reason == want.finish_reason and stream.usage.completion_tokens == len(tokens)
    assert list(stream) == []  # over stays over


def test_complete(engine: krserve.Engine) -> None:
    answer = engine.complete("One, two, three,", max_tokens=6)
    assert "four" in answer and answer.finish_reason == "length"
    assert engine.complete(engine.tokenizer.encode("One, two, three,"), max_tokens=6) == answer


def test_sampling(engine: krserve.Engine) -> None:
    def sample(**options: object) -> krserve.Answer:
        return engine.complete("Once upon a time", max_tokens=12, temperature=1.2, **options)

    a = sample(seed=7)
    assert a.seed == 7 and sample(seed=7) == a
    assert len({str(sample(seed=s)) for s in range(1, 6)}) > 1
    r = sample()
    assert r.seed != 0 and sample(seed=r.seed) == r  # a random seed is reported
    assert sample(seed=7, top_k=1) == engine.complete("Once upon a time", max_tokens=12)


def test_stops(engine: krserve.Engine) -> None:
    full = engine.complete("One, two, three,", max_tokens=12)
    cut = engine.complete("One, two, three,", max_tokens=12, stop=" six")
    assert cut.finish_reason == "stop" and full.startswith(cut) and " six" not in cut and "five" in cut
    comma = engine.tokenizer.encode(",")[0]
    ended = engine.complete("One, two, three,", max_tokens=12, stop_ids=[comma])
    assert ended.finish_reason == "stop" and len(ended.tokens) <= 3
    assert engine.complete("One, two, three,", max_tokens=1, logit_bias={comma: 100.0}) == ","


def test_bad_requests(engine: krserve.Engine) -> None:
    for options in (
        {"max_tokens": -1},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 2.0},
        {"logprobs": 21},
        {"seed": -1},
        {"seed": 2**64},
        {"max_tokens": 2**40},
    ):
        with pytest.raises(krserve.InvalidError):
            engine.complete("a", **options)
    with pytest.raises(krserve.InvalidError):
        engine.stream()
    with pytest.raises(krserve.InvalidError):
        engine.stream("a", prompt="b")
    with pytest.raises(krserve.ContextLengthError):
        engine.complete([100] * 600)
    with pytest.raises(krserve.InvalidError):
        engine.complete([10**9])


def test_bad_models(tmp_path: Path, model: Path) -> None:
    with pytest.raises(krserve.NotFoundError, match="none.gguf"):
        krserve.Engine(tmp_path / "none.gguf")
    (tmp_path / "junk.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises((krserve.FormatError, krserve.UnsupportedError), match="junk.gguf"):
        krserve.Engine(tmp_path / "junk.gguf")
    with pytest.raises(krserve.UnsupportedError, match="abacus"):
        krserve.Engine(model, backend="abacus")


def test_prepared(engine: krserve.Engine, model: Path, tmp_path: Path) -> None:
    want = engine.complete("One, two, three,", max_tokens=6)

    def large() -> int:  # files as large as packed weights
        return sum(f.stat().st_size > 50 << 20 for f in tmp_path.rglob("*"))

    for packed, files in ((False, 0), (True, 1), (True, 1)):
        with krserve.Engine(model, context_tokens=512, prepared_dir=tmp_path, packed_weights=packed) as e:
            assert e.complete("One, two, three,", max_tokens=6) == want
        assert large() == files


def test_break_cancels(engine: krserve.Engine) -> None:
    with engine.stream(prompt="Once upon a time", ignore_eos=True) as stream:
        for i, _ in enumerate(stream):
            if i == 3:
                break
    with pytest.raises(krserve.ClosedError):
        next(stream)
    deadline = time.time() + 5
    while engine.stats().running and time.time() < deadline:
        time.sleep(0.01)
    assert engine.stats().running == engine.stats().waiting == 0


def test_cancel_from_another_thread(engine: krserve.Engine) -> None:
    stream = engine.stream(prompt="Once upon a time", ignore_eos=True)
    threading.Timer(0.2, stream.cancel).start()
    start = time.time()
    with pytest.raises(krserve.CancelledError):
        for _ in stream:
            pass
    assert time.time() - start < 5 and stream.finish_reason == "cancelled"


def test_threads_share_an_engine(engine: krserve.Engine) -> None:
    want = engine.complete("One, two, three,", max_tokens=6)
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(engine.complete("One, two, three,", max_tokens=6))) for _ in range(8)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == [want] * 8


def test_the_gil_is_released(engine: krserve.Engine) -> None:
    ticks = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    t = threading.Thread(target=tick)
    t.start()
    start = time.perf_counter()
    engine.complete("Once upon a time", max_tokens=24, ignore_eos=True)
    took = time.perf_counter() - start
    done.set()
    t.join()
    during = sum(start < x < start + took for x in ticks)
    assert during > 5, f"{during} ticks in {took:.3f} s"


def test_close(model: Path) -> None:
    engine = krserve.Engine(model, context_tokens=256)
    stats = engine.stats()
    assert stats.backend and stats.threads > 0 and stats.context_tokens == 256 and stats.weight_bytes > 10**7
    stream = engine.stream(prompt="Once upon a time", ignore_eos=True)
    next(stream)
    engine.close()
    with pytest.raises((krserve.ClosedError, krserve.CancelledError)):
        for _ in stream:
            pass
    with pytest.raises(krserve.ClosedError):
        engine.chat("Hi")
    engine.close()
    assert engine.tokenizer.encode("Hi")  # outlives the engine
