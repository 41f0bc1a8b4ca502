"""What concerns the whole process: Ctrl-C, fork, exit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def run(code: str, *args: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_ctrl_c_cancels_a_stream(model: Path) -> None:
    child = run(
        """
import sys, krserve
engine = krserve.Engine(sys.argv[1], context_tokens=2048)
stream = engine.stream(prompt="Once upon a time", ignore_eos=True)
n = 0
try:
    for _ in stream:
        n += 1
        if n == 2: print("going", flush=True)
except KeyboardInterrupt:
    print("interrupted", n > 1, flush=True)
print(engine.complete("One, two, three,", max_tokens=4), flush=True)  # the engine lives on
""",
        model,
    )
    assert child.stdout is not None and child.stdout.readline() == "going\n"
    child.send_signal(signal.SIGINT)
    start = time.time()
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert out.startswith("interrupted True\n") and "four" in out, (out, err)
    assert time.time() - start < 30


def test_fork_is_refused(model: Path) -> None:
    child = run(
        """
import os, sys, krserve
tok = krserve.Tokenizer(sys.argv[1])
pid = os.fork()
if pid == 0:
    try:
        tok.encode("a")
    except krserve.KrserveError as e:
        tok.close(); del tok
        os._exit(0 if "spawn" in str(e) else 2)
    os._exit(1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or (tok.encode("a") == []))
""",
        model,
    )
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err


def test_exit_with_everything_open(model: Path) -> None:
    child = run(
        """
import sys, krserve
engine = krserve.Engine(sys.argv[1], context_tokens=512)
stream = engine.stream(prompt="Once upon a time", ignore_eos=True)
next(stream)
print("bye")
""",
        model,
    )
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (0, "bye\n", "")


def test_spawned_workers(model: Path, tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(
        """
import multiprocessing as mp, sys, krserve
def work(path): return krserve.Tokenizer(path).encode("Hello")
if __name__ == "__main__":
    tok = krserve.Tokenizer(sys.argv[1])
    with mp.get_context("spawn").Pool(2) as pool:
        assert pool.map(work, [sys.argv[1]] * 2) == [tok.encode("Hello")] * 2
"""
    )
    done = subprocess.run([sys.executable, str(script), str(model)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert os.path.exists(script)
