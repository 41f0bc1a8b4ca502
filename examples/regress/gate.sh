#!/bin/sh
# A regression gate for a Go project: measures benchmarks of the working tree against those of an earlier commit, in one job.
#
#   gate.sh BASE BENCHMARKS PACKAGE... -- [flags of krserve regress run]
#   gate.sh "$(git merge-base HEAD origin/main)" . ./parser ./store -- -html report.html
#
# Exit status: 0 no regression, 3 a regression, anything else a failure. BENCHTIME (50ms) is how long each benchmark runs
# in each of the blocks, SHARE names ignored paths that benchmarks read and that both trees are to have, KRSERVE the command.
set -eu
[ $# -ge 3 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
base=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "gate: no commit $1 here" >&2; exit 1; }
benchmarks=$2
shift 2
root=$(git rev-parse --show-toplevel)
tmp=$(mktemp -d)
trap 'git -C "$root" worktree remove --force "$tmp/base" 2>/dev/null; rm -rf "$tmp"' EXIT
git worktree add --quiet --detach "$tmp/base" "$base"
for p in ${SHARE-}; do
  mkdir -p "$(dirname "$tmp/base/$p")" && ln -s "$(cd "$root/$p" && pwd -P)" "$tmp/base/$p"
done

# Test binaries, built once; each runs in its package's folder, as under go test.
here=$(git rev-parse --show-prefix)
old=true new=true
n=0
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  n=$((n + 1))
  for side in old new; do
    tree=$root
    [ $side = new ] || tree=$tmp/base
    dir=$tree/$here$1
    rm -f "$tmp/$side.test"
    [ -d "$dir" ] && (cd "$dir" && go test -c -o "$tmp/$side.test" . >/dev/null)
    [ -f "$tmp/$side.test" ] || continue # no tests there, on this side
    mv "$tmp/$side.test" "$tmp/$side$n.test"
    run="cd '$dir' && '$tmp/$side$n.test' -test.run='^\$' -test.bench='$benchmarks' -test.benchtime=${BENCHTIME:-50ms}"
    [ $side = new ] && new="$new && $run" || old="$old && $run"
  done
  shift
done
[ "${1-}" != -- ] || shift
status=0
"${KRSERVE:-krserve}" regress run -old "$old" -new "$new" "$@" || status=$?
exit $status
