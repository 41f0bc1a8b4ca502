package kvcache

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// below returns how many of tokens the tiers hold, as a search of theirs finds.
func below(s *Space, tokens []uint32) int {
	f := s.Fetch("", tokens, 0)
	defer f.Close()
	for !f.Found() {
		time.Sleep(50 * time.Microsecond)
	}
	_, to := f.Span()
	return to
}

// TestTTLInTiers: a tier forgets what the TTL has passed, and takes it again when it is computed again.
func TestTTLInTiers(t *testing.T) {
	for name, o := range map[string]Options{
		"host": {HostBytes: 1 << 20},
		"file": {File: filepath.Join(t.TempDir(), "kv"), FileBytes: 1 << 20},
		"both": {HostBytes: 1 << 20, File: filepath.Join(t.TempDir(), "kv"), FileBytes: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			var clock atomic.Int64
			o.TTL, o.Now = time.Minute, func() time.Time { return time.Unix(1e9+clock.Load(), 0) }
			p, s := attach(t, o, SpaceOptions{Blocks: 10, Identity: "x"})
			read := func(dst []byte, ids []uint32) error { clear(dst); return nil }
			tokens := seq(0, 3*BlockTokens)
			for round := range 3 {
				if n := below(s, tokens); n != 0 {
					t.Fatalf("round %d: %d tokens are there after their TTL", round, n)
				}
				if n := fill(t, s, "", tokens); n != 0 {
					t.Fatalf("round %d: the arena has %d tokens after their TTL", round, n)
				}
				if more, err := s.Spill(read, 10); more || err != nil {
					t.Fatal(more, err)
				}
				s.Clear()
				for end := time.Now().Add(time.Minute); below(s, tokens) != len(tokens); time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("round %d: %d of %d tokens are in the tier", round, below(s, tokens), len(tokens))
					}
				}
				clock.Add(61)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
