package krserve

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// stopReference reads the text byte by byte: the first end at which a stop string is complete, the longest there.
func stopReference(text string, stops []string) (string, bool) {
	for end := 1; end <= len(text); end++ {
		best := ""
		for _, s := range stops {
			if strings.HasSuffix(text[:end], s) && len(s) > len(best) {
				best = s
			}
		}
		if best != "" {
			return text[:end-len(best)], true
		}
	}
	return text, false
}

// heldReference is the longest end of text that begins a stop string without being one.
func heldReference(text string, stops []string) int {
	n := 0
	for _, s := range stops {
		for k := 1; k < len(s) && k <= len(text); k++ {
			if strings.HasSuffix(text, s[:k]) {
				n = max(n, k)
			}
		}
	}
	return n
}

func checkStops(t *testing.T, text string, stops []string, cut func() int) {
	t.Helper()
	want, wantStop := stopReference(text, stops)
	s := newStopper(stops)
	got, fed := "", ""
	for rest := text; ; {
		n := min(cut(), len(rest))
		piece := rest[:n]
		rest = rest[n:]
		fed += piece
		out, stopped := s.push(piece)
		got += out
		if stopped {
			if !wantStop || got != want {
				t.Fatalf("%q in pieces with stops %q: stopped with %q, want %q, %v", text, stops, got, want, wantStop)
			}
			return
		}
		if len(got) != len(fed)-heldReference(fed, stops) {
			t.Fatalf("after %q with stops %q: %q is out, %d bytes should be held", fed, stops, got, heldReference(fed, stops))
		}
		if rest == "" {
			break
		}
	}
	if got += s.flush(); got != want || wantStop {
		t.Fatalf("%q with stops %q: %q, want %q, %v", text, stops, got, want, wantStop)
	}
}

func TestStopper(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[r.IntN(2)]
		}
		return string(b)
	}
	for range 20000 {
		var stops []string
		for range r.IntN(4) {
			stops = append(stops, word(1+r.IntN(6)))
		}
		checkStops(t, word(r.IntN(30)), stops, func() int { return r.IntN(5) + 1 })
	}
}

func FuzzStopper(f *testing.F) {
	f.Add("the end\n\nUser:", "\n\nUser:", "\nU", byte(3))
	f.Add("aaaaab", "aab", "aaab", byte(1))
	f.Fuzz(func(t *testing.T, text, a, b string, step byte) {
		if len(text) > 500 || len(a) > 50 || len(b) > 50 || a == "" || b == "" {
			return
		}
		checkStops(t, text, []string{a, b}, func() int { return int(step%7) + 1 })
	})
}
