package kvcache

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func newMachine(t *testing.T, r *rand.Rand, p *Pool, blocks int, identity string, clock *time.Time) *machine {
	m := &machine{t: t, r: r, p: p, ttl: p.o.TTL, clock: clock, trees: map[string]*trie{}, saved: map[Key][BlockTokens]uint64{},
		arena: make([][BlockTokens]uint64, blocks), ops: map[string]int{}, gen: 1}
	var err error
	if m.s, err = p.Attach(SpaceOptions{Blocks: blocks, BlockBytes: modelBlock, Identity: identity}); err != nil {
		t.Fatal(err)
	}
	return m
}

const modelBlock = 8 * BlockTokens

// configurations are what the seeds go through: tight and roomy spaces, quotas, TTL, budgets that two spaces share, few
// sequences, a tier below.
func configurations(seed uint64) (blocks int, two bool, o Options) {
	blocks = []int{4, 9, 40, 200, 1000}[seed%5]
	bytes := int64(blocks) * modelBlock
	switch seed / 5 % 8 {
	case 1:
		o.TenantBytes = bytes * 2 / 5
	case 2:
		o.TTL = time.Minute
	case 3:
		o.Bytes = bytes * 7 / 10
	case 4:
		o.Bytes, two = bytes, true
	case 5:
		o.Sequences, o.TTL = 5, 2*time.Minute
	case 6:
		o.HostBytes = 1 << 20
	case 7:
		o.HostBytes, o.TTL = 64<<10, time.Minute
	}
	return blocks, two, o
}

// runMachine runs one seed and adds to ops. The whole bookkeeping is checked after every step for a while, later after
// every so many.
func runMachine(t *testing.T, seed uint64, steps, every int, ops map[string]int) {
	blocks, two, o := configurations(seed)
	clock := time.Unix(1e9, 0)
	r := rand.New(rand.NewPCG(seed, 1))
	events := map[EventKind]uint64{}
	o.Now = func() time.Time { return clock }
	if o.HostBytes == 0 {
		o.OnEvent = func(e Event) { events[e.Kind]++ }
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	machines := []*machine{newMachine(t, r, p, blocks, "model", &clock)}
	if two {
		machines = append(machines, newMachine(t, r, p, blocks, "model", &clock))
	}
	for i := range steps {
		m := machines[r.IntN(len(machines))]
		m.step()
		for _, m := range machines {
			if i < 100 || i%every == 0 {
				m.check()
			}
			if blocks <= 40 || i < 100 {
				m.account()
			}
		}
	}
	var evictions, expired uint64
	for _, m := range machines {
		for _, h := range m.held {
			m.content(h)
			if h.l != nil {
				h.l.Release()
			} else {
				h.snap.Release()
			}
		}
		m.held = nil
		m.check()
		m.s.Clear()
		m.check()
		if st := m.s.Stats(); st.Leased != 0 || st.Cached != 0 || len(m.s.tenants) != 0 {
			t.Fatalf("seed %d: after the end: %+v, %d tenants", seed, st, len(m.s.tenants))
		}
		evictions += m.s.stats.Evictions
		expired += m.s.stats.Expired
		for k, v := range m.ops {
			ops[k] += v
		}
	}
	if p.sequences != 0 {
		t.Fatalf("seed %d: %d sequences are left", seed, p.sequences)
	}
	if o.OnEvent != nil && (events[Evicted] != evictions || events[Expired] != expired) {
		t.Fatalf("seed %d: %d events of %d evictions, %d of %d expired", seed, events[Evicted], evictions, events[Expired], expired)
	}
	for _, m := range machines {
		if err := m.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if used, _ := p.Used(); used != 0 {
		t.Fatalf("seed %d: %d bytes are left", seed, used)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

var (
	soakSeeds = flag.Int("pool-seeds", 0, "seeds of TestModelSoak; 0 leaves it out")
	soakOps   = flag.Int("pool-ops", 10000, "operations per seed of TestModelSoak")
)

// wanted are the kinds of operations that a run must have had.
var wanted = []string{"acquire", "extend", "fork", "rollback", "release", "full", "snapshot", "pin", "resume", "unpin", "expire", "clear",
	"spill", "restored", "hand back", "sequences", "exact to the token"}

// TestModel runs random operations against the model.
func TestModel(t *testing.T) {
	ops := map[string]int{}
	for seed := range uint64(80) {
		runMachine(t, seed, 250, 10, ops)
	}
	for _, k := range wanted {
		if ops[k] < 20 {
			t.Errorf("only %d operations of kind %s: %v", ops[k], k, ops)
		}
	}
}

// TestModelSoak is TestModel at length.
func TestModelSoak(t *testing.T) {
	if *soakSeeds == 0 {
		return
	}
	const lanes = 4
	counts := make([]map[string]int, lanes)
	t.Run("seeds", func(t *testing.T) {
		for lane := range lanes {
			counts[lane] = map[string]int{}
			t.Run(fmt.Sprint(lane), func(t *testing.T) {
				t.Parallel()
				for seed := lane; seed < *soakSeeds; seed += lanes {
					runMachine(t, uint64(seed), *soakOps, 100, counts[lane])
					if seed/lanes%50 == 49 {
						t.Logf("%d seeds", seed/lanes+1)
					}
				}
			})
		}
	})
	total := map[string]int{}
	for _, c := range counts {
		for k, v := range c {
			total[k] += v
		}
	}
	t.Logf("%d seeds of %d operations: %v", *soakSeeds, *soakOps, total)
}
