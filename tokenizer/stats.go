package tokenizer

import (
	"sync/atomic"
	"time"
)

// Stats counts what a Tokenizer has done since it was made or ResetStats.
type Stats struct {
	Encodes      uint64
	Bytes        uint64 // of text
	Tokens       uint64
	Time         time.Duration // within Encode and its kin, summed over goroutines
	TokensPerSec float64       // Tokens by Time
	CacheHits    uint64        // pieces found in the cache
	CacheMisses  uint64
}

type counters struct {
	encodes, bytes, tokens, nanos atomic.Uint64
}

func (c *counters) add(bytes, tokens int, start time.Time) {
	c.encodes.Add(1)
	c.bytes.Add(uint64(bytes))
	c.tokens.Add(uint64(tokens))
	c.nanos.Add(uint64(time.Since(start)))
}

// Stats gives the counters; each is exact, their relation is that of moments near to each other.
func (t *Tokenizer) Stats() Stats {
	c := &t.stats
	s := Stats{Encodes: c.encodes.Load(), Bytes: c.bytes.Load(), Tokens: c.tokens.Load(), Time: time.Duration(c.nanos.Load())}
	if s.Time > 0 {
		s.TokensPerSec = float64(s.Tokens) / s.Time.Seconds()
	}
	if t.fast != nil {
		s.CacheHits, s.CacheMisses = t.fast.stats()
	}
	return s
}

// ResetStats sets the counters to zero.
func (t *Tokenizer) ResetStats() {
	c := &t.stats
	c.encodes.Store(0)
	c.bytes.Store(0)
	c.tokens.Store(0)
	c.nanos.Store(0)
	if t.fast != nil {
		t.fast.resetStats()
	}
}
