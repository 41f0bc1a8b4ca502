package regress

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// peerGolden is a series with what apache-otava 0.8.0 and ruptures 1.1.10 say of it (testdata/make_goldens.py).
type peerGolden struct {
	Name  string
	X     []float64
	Truth []int
	Peers map[string][]int
	Same  *struct {
		Left, Right []float64 // CostL1 of the first k and of the rest, k = 2 …
		L1Split     int       `json:"l1_split"`
		RankGain    []float64 `json:"rank_gain"`
		RankSplit   int       `json:"rank_split"`
	}
}

func readPeers(t *testing.T) []peerGolden {
	t.Helper()
	data, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []peerGolden
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSameMethod: the costs that place a change are ruptures' CostL1, the statistic that raises an alarm is the root of
// what a split gains in its CostRank, whose covariance is divided by n in place of n − 1.
func TestSameMethod(t *testing.T) {
	compared := 0
	near := func(got, want float64) bool { return math.Abs(got-want) <= 1e-9*math.Max(1, math.Abs(want)) }
	for _, g := range readPeers(t) {
		if g.Same == nil {
			continue
		}
		compared++
		n := len(g.X)
		left, right := costs(g.X)
		d := detector{xs: g.X, rank: make([]int, n)}
		d.rerank()
		away := n + 1 - d.rank[0]
		for i := range g.Same.Left {
			k := i + 2
			away += n + 1 - d.rank[k-1]
			if !near(left[k], g.Same.Left[i]) || !near(right[k], g.Same.Right[i]) {
				t.Errorf("%s: costs at %d: %v and %v, ruptures has %v and %v", g.Name, k, left[k], right[k], g.Same.Left[i], g.Same.Right[i])
			}
			z := normalScore(n, k, away)
			if got := z * z * float64(n) / float64(n-1); !near(got, g.Same.RankGain[i]) {
				t.Errorf("%s: rank gain at %d: %v, ruptures has %v", g.Name, k, got, g.Same.RankGain[i])
			}
		}
		if k := bestStep(g.X); k != g.Same.L1Split {
			t.Errorf("%s: split at %d, ruptures' Binseg says %d", g.Name, k, g.Same.L1Split)
		}
		if k, _ := split(d.rank); k != g.Same.RankSplit {
			t.Errorf("%s: rank split at %d, ruptures' Binseg says %d", g.Name, k, g.Same.RankSplit)
		}
	}
	if compared < 3 {
		t.Errorf("%d series compared", compared)
	}
}

// margin is the Turing Change Point Dataset's.
const margin = 5

func around5(list []int, at int) bool {
	return slices.ContainsFunc(list, func(x int) bool { return x-at <= margin && at-x <= margin })
}

// TestBesidePeers: on the series that the peers ship or generate, a change that is there and that every peer finds is found,
// and nothing is reported where neither a change is nor any peer sees one. Their methods differ from ours, so their
// change points are no standard beyond that.
func TestBesidePeers(t *testing.T) {
	changes, found := 0, 0
	for _, g := range readPeers(t) {
		var ours []int
		for _, c := range Detect(g.X, HistoryOptions{}) {
			if c.Kind == Step && !c.Passing {
				ours = append(ours, c.Index)
			}
		}
		t.Logf("%s: %v; there are %v, peers say %v", g.Name, ours, g.Truth, g.Peers)
		for _, at := range g.Truth {
			all := true
			for _, p := range g.Peers {
				all = all && around5(p, at)
			}
			changes++
			if around5(ours, at) {
				found++
			} else if all {
				t.Errorf("%s: the change at %d, which every peer finds, is missed: %v", g.Name, at, ours)
			}
		}
		for _, at := range ours {
			seen := around5(g.Truth, at)
			for _, p := range g.Peers {
				seen = seen || around5(p, at)
			}
			if !seen {
				t.Errorf("%s: nothing is at %d", g.Name, at)
			}
		}
	}
	if 10*found < 9*changes {
		t.Errorf("%d of %d changes found", found, changes)
	}
}
