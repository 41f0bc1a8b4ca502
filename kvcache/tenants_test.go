package kvcache

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// visitor is a tenant with random requests that often share prefixes.
type visitor struct {
	t     *testing.T
	s     *Space
	name  string
	r     *rand.Rand
	held  []*Lease
	known [][]uint32
	hits  []int // of every request; -1 when its quota was leased out
}

func (v *visitor) request() {
	var p []uint32
	if len(v.known) > 0 && v.r.IntN(4) > 0 {
		p = slices.Clone(v.known[v.r.IntN(len(v.known))])
		p = p[:v.r.IntN(len(p)+1)]
	}
	for range 1 + v.r.IntN(60) {
		p = append(p, v.r.Uint32N(50))
	}
	l := new(Lease)
	hit, err := v.s.Acquire(l, v.name, p, len(p)-1)
	if err != nil {
		v.t.Fatal(err)
	}
	v.hits = append(v.hits, hit)
	l.Copied()
	if l.Grow(len(p)) != nil {
		v.hits = append(v.hits, -1)
		l.Release()
		return
	}
	l.Copied()
	if err := l.Commit(p[hit:]); err != nil {
		v.t.Fatal(err)
	}
	v.held, v.known = append(v.held, l), append(v.known, p)
}

func (v *visitor) step() {
	i := v.r.IntN(max(len(v.held), 1))
	switch op := v.r.IntN(10); {
	case op < 5 || len(v.held) == 0:
		v.request()
	case op < 6:
		if err := v.held[i].Rollback(v.r.IntN(v.held[i].Len() + 1)); err != nil {
			v.t.Fatal(err)
		}
	default:
		v.held[i].Release()
		v.held = slices.Delete(v.held, i, i+1)
	}
}

// TestTenantsDoNotInfluence: what a tenant's requests find is the same, to the token, whatever other tenants do in
// between, one of them with the very same prompts: without quotas as long as there is room, with quotas in any case.
func TestTenantsDoNotInfluence(t *testing.T) {
	for name, c := range map[string]struct {
		o      Options
		blocks int
	}{
		"room":  {Options{}, 20000},
		"quota": {Options{TenantBytes: 40 * 100}, 120},
	} {
		t.Run(name, func(t *testing.T) {
			short := 0
			for seed := range uint64(20) {
				run := func(others ...uint64) []int {
					_, s := attach(t, c.o, SpaceOptions{Blocks: c.blocks})
					a := &visitor{t: t, s: s, name: "a", r: rand.New(rand.NewPCG(seed, 5))}
					var more []*visitor
					for i, seed := range others {
						more = append(more, &visitor{t: t, s: s, name: string(rune('b' + i)), r: rand.New(rand.NewPCG(seed, 5))})
					}
					for range 400 {
						a.step()
						for _, v := range more {
							v.step()
							v.step()
						}
					}
					return a.hits
				}
				alone, among := run(), run(seed, seed+100)
				if !slices.Equal(alone, among) {
					t.Fatalf("seed %d: found %v, alone %v", seed, among, alone)
				}
				if slices.Contains(alone, -1) {
					short++
				}
			}
			if name == "quota" && short == 0 {
				t.Error("no request met its quota")
			}
		})
	}
}
