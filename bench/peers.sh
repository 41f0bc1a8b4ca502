#!/usr/bin/env bash
# Builds what krserve is measured against, under $PEERS (default .testdata/peers): llama.cpp from the sources that the
# PyPI package llama-cpp-python ships, once for this CPU and once without AVX-512; and random models of a 7B shape.
# About 25 minutes on 2 cores, 9 GB of disk. usage: bench/peers.sh [llama]; with llama, llama.cpp for this CPU alone.
# After `make testdata`: what is built has to run SmolLM2, and the models get Qwen's vocabulary.
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
make_llama() { # make_llama DIR TARGETS CMAKE-FLAGS…
  local dir=$P/$1 targets=$2; shift 2
  echo "peers: building ${dir##*/}" >&2
  cmake -S "$src" -B "$dir" -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF "$@" >/dev/null
  cmake --build "$dir" -j "$(nproc)" --target $targets >/dev/null
}
build() { # build DIR TARGETS CMAKE-FLAGS…: what is missing
  for t in $2; do [ -x "$P/$1/bin/$t" ] || { make_llama "$@"; return; }; done
}
probe() { # one prompt, long enough for the kernels of prefill; its exit status is llama-bench's
  "$P/llama/bin/llama-bench" -m .testdata/smollm2.gguf -p 64 -n 0 -r 1 >/dev/null 2>"$P/probe.log"
}
extensions() { # the flags of a build for this CPU without AMX: every option by name, since a configured folder keeps the old ones
  local pair flags
  flags=" $(sed -n 's/^flags[^:]*: *//p;T;q' /proc/cpuinfo) "
  for pair in SSE42:sse4_2 AVX:avx AVX2:avx2 FMA:fma F16C:f16c BMI2:bmi2 AVX512:avx512bw AVX512_VNNI:avx512_vnni AVX512_VBMI:avx512vbmi \
    AVX512_BF16:avx512_bf16 AVX_VNNI:avx_vnni; do
    case $flags in *" ${pair#*:} "*) echo "-DGGML_${pair%:*}=ON" ;; *) echo "-DGGML_${pair%:*}=OFF" ;; esac
  done
}
targets="llama-bench llama-server llama-batched-bench"
build llama "$targets" -DGGML_NATIVE=ON
# A machine may list AMX and yet refuse its tiles (no permission from the system or the hypervisor): SIGILL at the first.
status=0; probe || status=$?
note_file=$P/llama/build-note.txt # bench/peers.py puts it under its table
if [ "$status" -gt 128 ] && [ ! -f "$note_file" ]; then
  note="llama.cpp built for this CPU died of SIG$(kill -l "$status") at its first prompt; built again without AMX, with the other extensions that the CPU lists."
  echo "peers: $note" >&2
  make_llama llama "$targets" -DGGML_NATIVE=OFF $(extensions)
  echo "$note" > "$note_file"
  status=0; probe || status=$?
fi
[ "$status" = 0 ] || { cat "$P/probe.log" >&2; echo "peers: llama-bench does not run here: status $status" >&2; exit 1; }
[ "${1:-}" != llama ] || exit 0
case $(uname -m) in
  x86_64) build llama-avx2 llama-bench -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_AVX512=OFF ;;
esac
for t in Q4_0 Q4_K; do
  f=$P/qwen2.5-7b-$t.gguf
  if ! grep -aqs tokenizer.ggml.tokens < <(head -c 65536 "$f" 2>/dev/null); then
    go run ./internal/model/modelgen/cmd/modelgen -tokenizer .testdata/tok/qwen3/tokenizer.json qwen2.5-7b:$t "$P/part.gguf"
    mv "$P/part.gguf" "$f"
  fi
done
