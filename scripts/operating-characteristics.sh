#!/bin/sh
# Writes tables of canary simulate: operating-characteristics.sh KRSERVE RUNS OUT
set -e
krserve=$1 runs=$2 out=$3
machine=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
table() {
	printf '\n`krserve canary simulate %s`\n\n' "$*" >>"$out.new"
	"$krserve" canary simulate "$@" >>"$out.new"
}
cat >"$out.new" <<TEXT
# Canary policies on invented traffic

\`make operating-characteristics RUNS=$runs\`, $(date -u +%F), ${machine:-$(uname -m)}, seeds 1 to $runs. The canary has a constant 10 % of the
sessions; none, bursts and clustered are healthy canaries, whose share rolled back is the false-alarm rate. Medians and
90th percentiles are over all runs; – is where that many were not rolled back within the run.
TEXT
table -runs "$runs" -pattern none,bursts,clustered -requests 20000
table -runs "$runs" -pattern 2x,3x,10x,total,slow,empty -requests 60000
# A decision per request shows the test's own delay, without the interval's.
table -runs "$runs" -pattern 2x,3x,10x,total -requests 60000 -interval 200ms -peers=false
mv "$out.new" "$out"
