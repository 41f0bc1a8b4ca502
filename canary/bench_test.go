package canary

import (
	"testing"
	"time"
)

// BenchmarkDecide looks at the evidence of 20,000 requests.
func BenchmarkDecide(b *testing.B) {
	c := mustNew(b, quick())
	serve(c, 20_000, nil)
	b.ReportAllocs()
	for b.Loop() {
		c.Decide(epoch.Add(30 * time.Second))
	}
}
