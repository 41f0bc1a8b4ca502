import array
import asyncio
import threading
from pathlib import Path

import krserve
import numpy
import pytest
import tokenizers
from conftest import tokenizer_json

TEXTS = ["", "Hello, world!", "naïve café 😀", "  two  spaces\n\n", "数字 12345", "def f(x):\n\treturn x**2\n", "a" * 5000]


@pytest.mark.parametrize("name", ["qwen3", "llama3_1", "gemma3"])
def test_same_as_reference(name: str) -> None:
    path = tokenizer_json(name)
    ours, theirs = krserve.Tokenizer(path), tokenizers.Tokenizer.from_file(str(path))
    assert ours.vocab_size == len(ours) > 100_000
    for text in TEXTS:
        for special in (False, True):
            want = theirs.encode(text, add_special_tokens=special).ids
            assert ours.encode(text, add_special=special) == want
            assert ours.count(text, add_special=special) == len(want)
        assert ours.decode(want, skip_special=True) == theirs.decode(want, skip_special_tokens=True)
        assert ours.decode(want) == theirs.decode(want, skip_special_tokens=False)


def test_batch_and_arrays(tok: krserve.Tokenizer) -> None:
    want = [tok.encode(t) for t in TEXTS]
    for threads in (0, 1, 3):
        assert tok.encode_batch(TEXTS, threads=threads) == want
    ids, offsets = tok.encode_batch_arrays(TEXTS)
    assert ids.dtype == numpy.uint32 and len(offsets) == len(TEXTS) + 1
    assert [ids[offsets[i] : offsets[i + 1]].tolist() for i in range(len(TEXTS))] == want
    assert tok.encode_batch([]) == []
    for t, w in zip(TEXTS, want):
        got = tok.encode_array(t)
        assert got.dtype == numpy.uint32 and got.tolist() == w
        assert tok.encode(t.encode()) == w


def test_decode_takes_any_ids(tok: krserve.Tokenizer) -> None:
    ids = tok.encode("Hello there, naïve 😀")
    want = tok.decode(ids)
    assert want == "Hello there, naïve 😀"
    for kind in (tuple, numpy.array, lambda x: array.array("I", x), lambda x: numpy.array(x, dtype=numpy.int64)[:]):
        assert tok.decode(kind(ids)) == want
    assert tok.decode(numpy.repeat(numpy.array(ids, dtype=numpy.uint32), 2)[::2]) == want  # not contiguous
    assert tok.decode([]) == "" and tok.decode([2**32 - 1]) == ""
    for bad in ([-1], [2**32], numpy.array([1.5]), numpy.array([-1])):
        with pytest.raises(krserve.InvalidError):
            tok.decode(bad)


def test_special_tokens(tok: krserve.Tokenizer) -> None:
    end = tok.token_id("<|im_end|>")
    assert end is not None and end in tok.end_ids and tok.is_special(end) and tok.piece(end) == "<|im_end|>"
    assert tok.encode("<|im_end|>") == [end]
    assert end not in tok.encode("<|im_end|>", special="text")
    with pytest.raises(krserve.InvalidError, match="<|im_end|>"):
        tok.encode("<|im_end|>", special="refuse")
    with pytest.raises(ValueError):
        tok.encode("a", special="perhaps")
    assert tok.decode([end], skip_special=True) == ""
    assert tok.token_id("surely no token") is None
    with pytest.raises(krserve.InvalidError):
        tok.piece(10**9)


def test_text_that_is_none(tok: krserve.Tokenizer) -> None:
    assert tok.encode(b"a\xffb") == tok.encode("a\ufffdb")
    assert tok.decode(tok.encode("\0")) == "\0"
    assert tok.count("\ud800") > 0  # a lone surrogate is no character
    with pytest.raises(TypeError):
        tok.encode(3)  # type: ignore[arg-type]


def test_template(tok: krserve.Tokenizer) -> None:
    assert tok.has_template
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    text = tok.apply_template(messages)
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tok.apply_template(messages, add_generation_prompt=False) == text[: -len("<|im_start|>assistant\n")]
    assert "Hi" in tok.apply_template("Hi")
    with pytest.raises(krserve.InvalidError):
        tok.apply_template([{"content": "no role"}])


def test_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as e:
        krserve.Tokenizer(tmp_path / "none.json")
    assert isinstance(e.value, krserve.NotFoundError) and "none.json" in str(e.value) and e.value.status == -4
    for junk in (b"", b"{}", b"GGUF\x03\0\0\0", bytes(range(256)) * 16):
        (tmp_path / "junk").write_bytes(junk)
        with pytest.raises(krserve.KrserveError):
            krserve.Tokenizer(tmp_path / "junk")
        with pytest.raises((krserve.FormatError, krserve.UnsupportedError)):
            krserve.Tokenizer(junk)
    data = tokenizer_json("qwen3").read_bytes()
    assert krserve.Tokenizer(data).encode("Hello") == [9707]


def test_settings(tmp_path: Path) -> None:
    path = tokenizer_json("qwen3")
    text = "The quick brown fox jumps over the lazy dog. " * 4000
    with krserve.Tokenizer(path) as plain:
        want = plain.encode(text)
    for options in ({"threads": 1}, {"threads": 2, "min_parallel_bytes": 100}, {"cache_bytes": -1}, {"prepared_dir": tmp_path}):
        with krserve.Tokenizer(path, **options) as t:
            assert t.encode(text) == want, options
    made = list(tmp_path.iterdir())
    assert made and all(f.stat().st_size > 1 << 20 for f in made if f.is_file())
    with krserve.Tokenizer(path, prepared_dir=tmp_path) as t:  # from there
        assert t.encode(text) == want
    assert list(tmp_path.iterdir()) == made
    with pytest.raises(krserve.InvalidError, match="threads"):
        krserve.Tokenizer(path, threads=-1)
    with krserve.Tokenizer(path.read_bytes(), cache_bytes=-1) as t:
        assert t.encode(text) == want


def test_closed(model: Path) -> None:
    t = krserve.Tokenizer(model)
    with t:
        assert t.count("a") == 1
    for use in (lambda: t.encode("a"), lambda: t.decode([1]), lambda: t.count("a"), lambda: t.piece(1)):
        with pytest.raises(krserve.ClosedError):
            use()
    t.close()


def test_threads(tok: krserve.Tokenizer) -> None:
    want = [tok.encode(t) for t in TEXTS]
    wrong = []

    def work() -> None:
        for _ in range(12):
            if [tok.encode(t) for t in TEXTS] != want or tok.encode_batch(TEXTS, threads=2) != want:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    assert not wrong


def test_log_can_be_set() -> None:
    krserve.set_log(lambda level, text: None)
    krserve.set_log(None)


CHARS = ["Hello, world!", "naïve café 😀", "数字 12345 and so on", "", "def f(x):\n\treturn x**2\n"]


@pytest.mark.parametrize("name", ["qwen3", "llama3_1", "gemma3", "llama2"])
def test_full_same_as_reference(name: str) -> None:
    path = tokenizer_json(name)
    ours, theirs = krserve.Tokenizer(path), tokenizers.Tokenizer.from_file(str(path))

    def same(got: krserve.Encoding, want: tokenizers.Encoding) -> None:
        assert got.ids == want.ids and got.offsets == want.offsets and got.type_ids == want.type_ids
        assert got.special_tokens_mask == want.special_tokens_mask and got.attention_mask == want.attention_mask
        assert [o.ids for o in got.overflow] == [o.ids for o in want.overflowing]

    for special in (False, True):
        theirs.no_truncation()
        theirs.no_padding()
        for text in CHARS:
            same(ours.encode_full(text, add_special=special), theirs.encode(text, add_special_tokens=special))
            same(ours.encode_full(text, "pair", add_special=special), theirs.encode(text, "pair", add_special_tokens=special))
        for side in ("right", "left"):
            theirs.enable_truncation(5, stride=2, direction=side)
            theirs.enable_padding(direction=side, pad_id=3, pad_token="<pad>", pad_to_multiple_of=4)
            got = ours.encode_full_batch(
                CHARS, add_special=special, max_tokens=5, stride=2, truncation_side=side, pad=True, pad_id=3,
                pad_multiple_of=4, padding_side=side,
            )
            for g, w in zip(got, theirs.encode_batch(CHARS, add_special_tokens=special)):
                same(g, w)


def test_full_options(tok: krserve.Tokenizer) -> None:
    e = tok.encode_full("é😀x", offsets="byte")
    assert e.offsets[-1][1] == 7 and tok.encode_full("é😀x").offsets[-1][1] == 3
    assert tok.encode_full_batch([]) == []
    for bad in (
        {"offsets": "word"},
        {"max_tokens": -1},
        {"max_tokens": 3, "stride": 3},
        {"max_tokens": 3, "truncate": "none"},
        {"pad": True, "pad_to": 1 << 32},
        {"special": "perhaps"},
    ):
        with pytest.raises(krserve.InvalidError):
            tok.encode_full("one two three four five six", **bad)
    with pytest.raises(krserve.InvalidError):
        tok.encode_full_batch(["a"], [])


def test_count_up_to_and_async(tok: krserve.Tokenizer) -> None:
    text = "one two three four"
    n = tok.count(text)
    assert tok.count_up_to(text, n) == n and tok.count_up_to(text, n - 1) is None and tok.count_up_to("", 0) == 0

    async def many() -> list:
        return list(await asyncio.gather(*[tok.encode_async(t) for t in TEXTS]))

    assert asyncio.run(many()) == [tok.encode(t) for t in TEXTS]


def test_stats(tok: krserve.Tokenizer) -> None:
    tok.stats(reset=True)
    ids = tok.encode("hello there")
    s = tok.stats(reset=True)
    assert s.encodes == 1 and s.bytes == 11 and s.tokens == len(ids) and s.tokens_per_second > 0
    assert tok.stats().encodes == 0


def test_decoder(tok: krserve.Tokenizer) -> None:
    text = "naïve 😀 数字 <|im_end|> end"
    ids = tok.encode(text)
    with tok.decoder() as d:
        pieces = [d.next(i) for i in ids] + [d.flush()]
        assert "".join(pieces) == text and "\ufffd" not in "".join(pieces)
        assert d.next(ids * 50) + d.flush() == text * 50
        with pytest.raises(krserve.InvalidError):
            d.next(-1)
    with pytest.raises(krserve.ClosedError):
        d.next(1)
    skip = tok.decoder(skip_special=True)
    assert skip.next(ids) + skip.flush() == text.replace("<|im_end|>", "")


def test_appender(tok: krserve.Tokenizer) -> None:
    with tok.appender() as a:
        assert a.ids == []
        a.append("<|im_start|>user\n")
        mark = a.append("<|im_end|> is ", plain=True)
        later = a.append("text" * 300, plain=True)
        plain = a.ids
        assert tok.token_id("<|im_end|>") not in plain and tok.decode(plain).endswith("is " + "text" * 300)
        a.undo(mark)
        assert a.ids == tok.encode("<|im_start|>user\n")
        for void in (later, 0, 1 << 63):
            with pytest.raises(krserve.InvalidError):
                a.undo(void)
        a.append("Hi<|im_end|>")
        assert a.ids == tok.encode("<|im_start|>user\nHi<|im_end|>") and a.ids_from(1) == a.ids[1:]
        with pytest.raises(krserve.InvalidError):
            a.ids_from(10**6)
    with pytest.raises(krserve.ClosedError):
        a.append("x")
