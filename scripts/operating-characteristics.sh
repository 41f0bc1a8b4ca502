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
sessions, but for steps, where it has 10, 25 and 50 % for a third of the run each; 1 % of stable's requests fail.

## At equal false-alarm rate

Every rule has, for each fault anew, the setting that sees it soonest among those that roll back at most 1 % of the healthy
canaries of each of none, bursts, clustered and ramp. Settings are chosen on other seeds than those shown; "worst false
alarms" is of the seeds shown. The other tools' rules are told which metric will break and watch only that, windows know
stable's true p95, and sequences are looked at whenever they could cross; krserve's policy has all its gates on.
TEXT
table -tune -runs "$runs" -pattern 2x,3x,10x,total,slow,empty -requests 60000
cat >>"$out.new" <<TEXT

## As they come

The rules of the other tools with the settings that their documentation shows, and krserve's default policy. none, bursts,
clustered, ramp and steps are healthy canaries, whose share rolled back is the false-alarm rate. – is where that many were
not rolled back within the run.
TEXT
table -runs "$runs" -pattern none,bursts,clustered,ramp,steps -requests 20000
table -runs "$runs" -pattern 2x,3x,10x,total,slow,empty -requests 60000
mv "$out.new" "$out"
