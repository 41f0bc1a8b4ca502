package kvcache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Store is a tier that processes and machines share. Values are opaque and carry their own checksum. A store may lose any
// value at any time. Methods are called from several goroutines; they should heed ctx, though one that does not, or that
// panics, costs no request more than its deadline.
type Store interface {
	// Prefix returns how many of keys, from the first one on without a gap, the store holds.
	Prefix(ctx context.Context, keys []Key) (int, error)
	// Get fills dst with the value of key. It reports false when there is none of just that length.
	Get(ctx context.Context, key Key, dst []byte) (bool, error)
	// Put stores a value under key; a ttl above 0 is how long it may be kept. value is valid during the call.
	Put(ctx context.Context, key Key, value []byte, ttl time.Duration) error
}

// remote is a Store behind a circuit breaker (Nygard, "Release It!", 2007): after a few failures in a row it is left alone
// for a time that doubles until it answers again; then one call at a time tries.
type remote struct {
	store Store
	now   func() time.Time
	event func(Event)

	mu       sync.Mutex
	inside   int // calls that have not returned, abandoned ones included
	failures int // in a row
	until    time.Time
	pause    time.Duration
	trying   bool
	stats    Tier
	latency  float64 // seconds that a look takes, a moving average
}

const (
	storeCalls   = 8 // at a time
	storeFails   = 3 // in a row open the breaker
	storePause   = time.Second
	storeMaxWait = time.Minute
)

var (
	errStoreDown = errors.New("kvcache: the store is left alone after failures")
	errStoreSlow = errors.New("kvcache: the store did not answer in time")
	errStoreBusy = errors.New("kvcache: too many calls to the store have not returned")
)

// up reports whether a call may be tried.
func (r *remote) up() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.may()
}

func (r *remote) may() bool {
	return r.failures < storeFails || !r.trying && !r.now().Before(r.until)
}

// call runs f with a deadline. f may go on after call has returned; after, if not nil, runs when f has ended.
func (r *remote) call(ctx context.Context, limit time.Duration, f func(context.Context) error, after func()) error {
	r.mu.Lock()
	var refused error
	switch {
	case r.inside >= storeCalls:
		refused = errStoreBusy
	case !r.may():
		refused = errStoreDown
	}
	if refused != nil {
		r.mu.Unlock()
		if after != nil {
			after()
		}
		return refused
	}
	trial := r.failures >= storeFails
	r.trying = r.trying || trial
	r.inside++
	r.mu.Unlock()

	c, cancel := context.WithTimeout(ctx, limit)
	result := make(chan error, 1)
	go func() {
		defer func() {
			r.mu.Lock()
			r.inside--
			r.mu.Unlock()
			if after != nil {
				after()
			}
		}()
		defer func() {
			if v := recover(); v != nil {
				result <- fmt.Errorf("kvcache: the store panics: %v", v)
			}
		}()
		result <- f(c)
	}()
	var err error
	select {
	case err = <-result:
	case <-c.Done():
		select {
		case err = <-result:
		default:
			err = errStoreSlow
		}
	}
	cancel()
	r.judge(ctx, err, trial)
	return err
}

// judge counts the outcome of a call. One that was given up from above says nothing about the store.
func (r *remote) judge(ctx context.Context, err error, trial bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if trial {
		r.trying = false
	}
	switch {
	case err == nil:
		if r.failures >= storeFails {
			r.event(Event{Kind: StoreUp})
		}
		r.failures, r.pause = 0, 0
	case ctx.Err() != nil:
	default:
		r.stats.Failures++
		r.failures++
		if r.failures < storeFails {
			return
		}
		r.pause = min(max(2*r.pause, storePause), storeMaxWait)
		r.until = r.now().Add(r.pause)
		if r.failures == storeFails {
			r.event(Event{Kind: StoreDown, Err: err})
		}
	}
}

// answered notes how long a look took.
func (r *remote) answered(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latency += (d.Seconds() - r.latency) / 4
}

// quick reports whether a look takes less than half of what it may save; 0 is not known. Doubt lets it be tried again.
func (r *remote) quick(save float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if save == 0 || r.latency <= save/2 {
		return true
	}
	r.latency *= 0.98
	return false
}

func (r *remote) count(f func(*Tier)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.stats)
}
