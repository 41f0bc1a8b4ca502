#!/usr/bin/env bash
# Builds what krserve is measured against, under $PEERS (default .testdata/peers): llama.cpp from the sources that the
# PyPI package llama-cpp-python ships, once for this CPU and once without AVX-512; and random models of a 7B shape.
# About 25 minutes on 2 cores, 9 GB of disk. usage: bench/peers.sh [llama]; with llama, llama.cpp for this CPU alone.
set -euo pipefail
cd "$(dirname "$0")/.."
P=${PEERS:-.testdata/peers}
mkdir -p "$P"
VERSION=0.3.36
PIP=(python3 -m pip)
src=$P/llama_cpp_python-$VERSION/vendor/llama.cpp
if [ ! -d "$src" ]; then
  mkdir -p "$P/dl"
  "${PIP[@]}" download -q --no-deps --no-binary :all: -d "$P/dl" llama-cpp-python==$VERSION
  tar xzf "$P/dl/llama_cpp_python-$VERSION.tar.gz" -C "$P"
fi
build() { # build DIR TARGETS CMAKE-FLAGS…
  local dir=$P/$1 targets=$2; shift 2
  for t in $targets; do [ -x "$dir/bin/$t" ] || local missing=1; done
  [ -n "${missing:-}" ] || return 0
  echo "peers: building ${dir##*/}" >&2
  cmake -S "$src" -B "$dir" -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF "$@" >/dev/null
  cmake --build "$dir" -j "$(nproc)" --target $targets >/dev/null
}
build llama "llama-bench llama-server llama-batched-bench" -DGGML_NATIVE=ON
[ "${1:-}" != llama ] || exit 0
case $(uname -m) in
  x86_64) build llama-avx2 llama-bench -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_AVX512=OFF ;;
esac
for t in Q4_0 Q4_K; do
  [ -f "$P/qwen2.5-7b-$t.gguf" ] || go run ./internal/model/modelgen/cmd/modelgen qwen2.5-7b:$t "$P/qwen2.5-7b-$t.gguf"
done
