package reference

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// pool runs one function over numbered items on a fixed set of goroutines. Which worker takes which item never shows in
// the result: an item's outputs are its own. Idle workers wait on a channel.
type pool struct {
	workers int // besides the caller
	wake    chan struct{}
	done    sync.WaitGroup
	next    atomic.Int64
	items   int64
	fn      func(worker, item int)
	fault   atomic.Pointer[string]
	closed  sync.Once
}

func newPool(threads int) *pool {
	p := &pool{workers: max(threads, 1) - 1, wake: make(chan struct{})}
	for w := 1; w <= p.workers; w++ {
		go func() {
			for range p.wake {
				p.drain(w)
				p.done.Done()
			}
		}()
	}
	return p
}

// run calls fn for items 0..n-1 and waits; few says that the work is too small to wake helpers for. A panic in fn
// becomes an error.
func (p *pool) run(n int, few bool, fn func(worker, item int)) error {
	p.items, p.fn = int64(n), fn
	p.next.Store(0)
	helpers := min(p.workers, n-1)
	if few {
		helpers = 0
	}
	if helpers > 0 {
		p.done.Add(helpers)
		for range helpers {
			p.wake <- struct{}{}
		}
	}
	p.drain(0)
	if helpers > 0 {
		p.done.Wait()
	}
	p.fn = nil
	if f := p.fault.Swap(nil); f != nil {
		return fmt.Errorf("reference: panic in a worker: %s", *f)
	}
	return nil
}

func (p *pool) drain(worker int) {
	defer p.recover()
	for {
		i := p.next.Add(1) - 1
		if i >= p.items {
			return
		}
		p.fn(worker, int(i))
	}
}

func (p *pool) recover() {
	if r := recover(); r != nil {
		s := fmt.Sprintf("%v\n%s", r, debug.Stack())
		p.fault.Store(&s)
		p.next.Store(p.items)
	}
}

func (p *pool) close() { p.closed.Do(func() { close(p.wake) }) }
