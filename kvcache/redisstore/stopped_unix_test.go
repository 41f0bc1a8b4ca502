//go:build unix

package redisstore

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/krserve/krserve/kvcache"
)

func (s *server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Error(err)
	}
}

// TestStopped: a server that hangs, as one that is stopped does, costs time and no answer.
func TestStopped(t *testing.T) {
	srv := startServer(t)
	a := newReplica(t, srv, kvcache.Options{StoreTimeout: 20 * time.Millisecond})
	r := rand.New(rand.NewPCG(1, 2))
	a.run(randomPrompt(r, 500))
	srv.signal(syscall.SIGSTOP)
	until(t, "the store to be given up", func() bool { a.run(randomPrompt(r, 150)); return a.seen(kvcache.StoreDown) > 0 })
	for range 5 {
		a.run(randomPrompt(r, 150))
	}
	srv.signal(syscall.SIGCONT)
	until(t, "the store to be taken up", func() bool { a.later(); a.run(randomPrompt(r, 150)); return a.seen(kvcache.StoreUp) > 0 })
}
