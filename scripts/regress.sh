#!/bin/sh
# Measures benchmarks of this tree against an earlier commit and says what came of it: advice, never a failure.
# usage: regress.sh KRSERVE [BASE]; without BASE the branch's base on origin/main, or the last commit of an earlier day.
set -u
cd "$(dirname "$0")/.." || exit 0
base=${2-}
if [ -z "$base" ]; then
  base=$(git merge-base HEAD origin/main 2>/dev/null)
  head=$(git rev-parse --verify --quiet HEAD 2>/dev/null)
  [ "$base" != "$head" ] || base=$(git rev-list -1 --before="$(git log -1 --format=%cd --date=format:%F) 00:00:00" HEAD 2>/dev/null)
fi
if [ -z "$base" ] || ! git rev-parse --verify --quiet "$base^{commit}" >/dev/null 2>&1; then
  echo "regress: no earlier commit here to compare with${base:+ ($base)}; a shallow clone has none"
  exit 0
fi
echo "regress: this tree against $(git log -1 --format='%h of %cs, %s' "$base")"
KRSERVE=$1 SHARE=.testdata BENCHTIME=${BENCHTIME:-20ms} examples/regress/gate.sh "$base" \
  '^BenchmarkEncode$/^smollm2$/^golden$/^(warm|cold)$|^BenchmarkQwen3Tools$|^BenchmarkAcquire4k$|^BenchmarkDecide$' ./tokenizer ./internal/jinja ./kvcache ./canary -- \
  -budget 55s ${HTML:+-html "$HTML"}
case $? in
  0) echo 'regress: no regression' ;;
  3) echo 'regress: slower, see above; advice, not a failure' ;;
  *) echo 'regress: could not be measured, see above; advice, not a failure' ;;
esac
exit 0
