#!/bin/sh
# Writes tables of canary simulate: operating-characteristics.sh KRSERVE RUNS OUT
set -e
krserve=$1 runs=$2 out=$3
machine=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
table() {
	printf '\n`krserve canary simulate %s`\n\n' "$*" >>"$out.new"
	"$krserve" canary simulate "$@" >>"$out.new"
}
text() { printf '\n' >>"$out.new"; cat >>"$out.new"; }
: >"$out.new"
cat >>"$out.new" <<TEXT
# Canary policies on invented traffic

\`make operating-characteristics RUNS=$runs\`, $(date -u +%F), ${machine:-$(uname -m)}. The canary has a constant 10 % of the sessions, but
for steps, where it has 10, 25 and 50 % for a third of the run each; 1 % of stable's requests fail. none, bursts, clustered,
ramp and steps are healthy canaries, whose share rolled back is the false-alarm rate. Medians and 90th percentiles are over
all runs; – is where that many were not rolled back within the run. Figures follow from the seeds, 1 on, not from the machine.

## krserve's default policy
TEXT
table -peers=false -runs "$runs" -pattern none,bursts,clustered,ramp,steps -requests 20000
table -peers=false -runs "$runs" -pattern 2x,3x,10x,total,slow,empty -requests 60000
text <<TEXT
## Beside other tools' rules, at equal false-alarm rate

Each rule has, for each fault anew, the setting that sees it soonest among those that roll back at most 1 % of the healthy
canaries in each of none, bursts, clustered and ramp; a rule divides that among the four metrics it reads as krserve divides
its Alpha, 0.7 for errors. Settings are chosen on other seeds than those shown, and "worst false alarms" is of the seeds
shown. To the others' favour: they are told which metric will break, windows know stable's true p95, and sequences count
sessions and are looked at whenever they could cross; krserve's policy has all its gates on and nothing to choose. Against
them: calibration has half as many runs as are shown, and where a metric's part of 1 % is less than one of those, no run
may be rolled back; a setting may still turn out louder on the seeds shown, as its column says.
TEXT
table -tune -runs $((runs * 3 / 20)) -pattern 2x,3x,10x,total,slow,empty -requests 30000
text <<TEXT
## Other tools' rules as they come

Settings as their documentation shows them.
TEXT
table -runs $((runs / 10)) -pattern none,bursts,clustered,ramp,steps,2x,3x,10x,total,slow,empty -requests 20000
mv "$out.new" "$out"
