"""Models and tokenizers of the repository's .testdata; `make testdata` fetches them."""

from pathlib import Path
from typing import Iterator

import krserve
import pytest

TESTDATA = Path(__file__).resolve().parents[3] / ".testdata"
MODEL = TESTDATA / "smollm2.gguf"


@pytest.fixture(scope="session")
def model() -> Path:
    assert MODEL.exists(), f"{MODEL} is missing: run `make testdata`"
    return MODEL


@pytest.fixture(scope="session")
def engine(model: Path) -> Iterator[krserve.Engine]:
    with krserve.Engine(model, context_tokens=512) as e:
        yield e


@pytest.fixture(scope="session")
def tok(model: Path) -> Iterator[krserve.Tokenizer]:
    with krserve.Tokenizer(model) as t:
        yield t


def tokenizer_json(name: str) -> Path:
    path = TESTDATA / "tok" / name / "tokenizer.json"
    assert path.exists(), f"{path} is missing: run `make testdata`"
    return path
