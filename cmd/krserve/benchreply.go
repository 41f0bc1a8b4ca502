package main

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"time"

	"github.com/krserve/krserve"
)

// reply is one answer as its reader saw it.
type reply struct {
	turn    int
	began   time.Time
	arrived []time.Time // of every token
	spoke   time.Time   // of the first text
	usage   krserve.Usage
	text    string
	ids     []uint32
}

// readReply reads an answer that must have n tokens.
func readReply(st *krserve.Stream, began time.Time, n int) (reply, error) {
	r := reply{began: began, arrived: make([]time.Time, 0, n)}
	for {
		tok, err := st.Next()
		switch {
		case errors.Is(err, io.EOF) && len(r.arrived) != n:
			return r, fmt.Errorf("%d tokens came, %d were asked for", len(r.arrived), n)
		case errors.Is(err, io.EOF):
			if r.usage = st.Usage(); r.spoke.IsZero() {
				r.spoke = r.arrived[n-1]
			}
			return r, nil
		case err != nil:
			return r, err
		}
		now := time.Now()
		r.text += tok.Text
		r.ids = append(r.ids, tok.ID)
		if r.arrived = append(r.arrived, now); tok.Text != "" && r.spoke.IsZero() {
			r.spoke = now
		}
	}
}

func (r *reply) ttft() float64 { return 1e3 * r.spoke.Sub(r.began).Seconds() }

// percentiles are in milliseconds.
type percentiles struct {
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	Mean float64 `json:"mean"`
}

func (p percentiles) String() string { return fmt.Sprintf("%.1f/%.1f/%.1f ms", p.P50, p.P95, p.P99) }

// percentilesOf takes the nearest rank below, as bench/load.py does. It sorts v.
func percentilesOf(v []float64) percentiles {
	if len(v) == 0 {
		return percentiles{}
	}
	sort.Float64s(v)
	q := func(p float64) float64 { return v[min(len(v)-1, int(p*float64(len(v))))] }
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return percentiles{q(0.50), q(0.95), q(0.99), sum / float64(len(v))}
}

// ttfts are the times to the first text.
func ttfts(rs []reply) percentiles {
	var v []float64
	for i := range rs {
		v = append(v, rs[i].ttft())
	}
	return percentilesOf(v)
}

// itls are the times between two tokens of one answer. Tokens that one step verified come together.
func itls(rs []reply) percentiles {
	var v []float64
	for _, r := range rs {
		for i := 1; i < len(r.arrived); i++ {
			v = append(v, 1e3*r.arrived[i].Sub(r.arrived[i-1]).Seconds())
		}
	}
	return percentilesOf(v)
}

// hitRate is the part of all prompt tokens whose keys and values were held.
func hitRate(rs []reply) float64 {
	prompt, cached := 0, 0
	for _, r := range rs {
		prompt, cached = prompt+r.usage.PromptTokens, cached+r.usage.CachedTokens
	}
	return float64(cached) / float64(max(prompt, 1))
}
