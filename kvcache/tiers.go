package kvcache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// tiers are what lies below the arenas of a pool.
type tiers struct {
	o      Options
	host   *host
	file   *file   // nil when there is none
	remote *remote // nil when there is none
	rates  [3]rate // of restoring, by level

	ctx     context.Context // of everything that goes on in the background
	cancel  context.CancelFunc
	work    sync.WaitGroup // of loaders and writers
	mu      sync.Mutex     // guards closed, with work.Add
	closed  bool
	writes  chan *entry // records on their way to file and store
	sends   chan *entry // of these, on their way to the store
	done    chan struct{}
	once    sync.Once
	failure error // of close
	skipped uint64
}

// Levels below the arena, in the order in which they are asked.
const (
	levelHost = iota
	levelFile
	levelStore
	noLevel
)

// Tier counts what one tier holds and has done.
type Tier struct {
	Records        int   // held; the Store's are not counted
	Bytes          int64 // held
	Hits           uint64
	Written        uint64
	Evicted        uint64 // host: records that gave way
	Damaged        uint64 // records that failed their checksum
	Failures       uint64 // Store: calls that failed or were too slow
	BytesPerSecond float64
}

// TierStats describe the tiers below the arena.
type TierStats struct {
	Host, File, Store Tier
	StoreDown         bool   // the Store fails and is left alone for a while
	Unwritten         uint64 // records that file or Store were too slow or broken for
	FileErr           error  // why the file is no longer written; nil while it is
}

// stagingBytes is the memory through which records pass when there is no host tier.
const stagingBytes = 64 << 20

func openTiers(o Options) (*tiers, error) {
	t := &tiers{o: o, writes: make(chan *entry, 1024), sends: make(chan *entry, 64), done: make(chan struct{})}
	if o.OnEvent == nil {
		t.o.OnEvent = func(Event) {}
	}
	if t.o.StoreTimeout == 0 {
		t.o.StoreTimeout = 250 * time.Millisecond
	}
	t.host = newHost(o.HostBytes, true)
	if o.HostBytes == 0 {
		t.host = newHost(stagingBytes, false)
	}
	if o.File != "" {
		var err error
		if t.file, err = openFile(o.File, o.FileBytes); err != nil {
			return nil, err
		}
	}
	if o.Store != nil {
		t.remote = &remote{store: o.Store, now: o.Now, event: t.o.OnEvent}
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	go t.write()
	return t, nil
}

// fits reports whether blocks of a size can pass.
func (t *tiers) fits(blockBytes int64) error {
	if n := blockBytes + headerBytes; t.o.HostBytes > 0 && t.o.HostBytes < n {
		return fmt.Errorf("%w: HostBytes = %d: a block needs %d", ErrInvalid, t.o.HostBytes, n)
	}
	if t.file != nil && blockBytes > t.file.largest() {
		return fmt.Errorf("%w: FileBytes: regions of %d bytes do not hold a block of %d; want at least %d", ErrInvalid, t.file.size,
			blockBytes, fileRegions*(blockBytes+headerBytes+filePage)+filePage)
	}
	t.host.mu.Lock()
	defer t.host.mu.Unlock()
	if least := 8 * (blockBytes + headerBytes + filePage); !t.host.keep && t.host.limit < least {
		t.host.limit = least
	}
	return nil
}

// since is the time before which a record is too old to be used.
func (t *tiers) since() int64 {
	if t.o.TTL == 0 {
		return -1 << 62
	}
	return t.o.Now().Add(-t.o.TTL).Unix()
}

// local returns the first level on this machine that has key.
func (t *tiers) local(key Key, since int64) int {
	switch {
	case t.host.has(key, since):
		return levelHost
	case t.file != nil && t.file.has(key, since):
		return levelFile
	}
	return noLevel
}

// saved reports whether no tier of this machine lacks key.
func (t *tiers) saved(key Key) bool {
	since := t.since()
	switch {
	case t.file != nil && t.file.usable():
		return t.file.has(key, since)
	case t.host.keep:
		return t.host.has(key, since)
	}
	return false
}

// write is the goroutine that brings records to the file and hands them on to the store.
func (t *tiers) write() {
	defer close(t.done)
	var sender sync.WaitGroup
	if t.remote != nil {
		sender.Go(t.send)
	}
	for e := range t.writes {
		if e == nil { // the last one
			break
		}
		if t.file != nil {
			if err := t.file.write(e.rec); err != nil {
				t.skip()
				if !errors.Is(err, errNoRegion) && t.file.lose() {
					t.o.OnEvent(Event{Kind: FileLost, Err: err})
				}
			}
		}
		if t.remote != nil && t.remote.up() {
			select {
			case t.sends <- e:
				continue
			default:
				t.skip()
			}
		}
		t.host.unref(e)
	}
	close(t.sends)
	sender.Wait()
}

// send is the goroutine that brings records to the store.
func (t *tiers) send() {
	for e := range t.sends {
		err := t.remote.call(t.ctx, putTimeouts*t.o.StoreTimeout, func(ctx context.Context) error {
			return t.remote.store.Put(ctx, e.key, e.rec, t.o.TTL)
		}, func() { t.host.unref(e) })
		if err != nil {
			t.skip()
		} else {
			t.remote.count(func(s *Tier) { s.Written++ })
		}
	}
}

// putTimeouts is how many StoreTimeouts one Put may take; nobody waits for it.
const putTimeouts = 20

func (t *tiers) skip() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skipped++
}

func (t *tiers) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// start runs f in the background unless the tiers are closed.
func (t *tiers) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.work.Go(f)
	return true
}

// enqueue sends a record with a reference to the writer, and reports whether there was room.
func (t *tiers) enqueue(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	select {
	case t.writes <- e:
		return true
	default:
		return false
	}
}

// closeTime bounds how long Close writes what is still on its way.
const closeTime = 5 * time.Second

func (t *tiers) close() error {
	t.once.Do(func() {
		t.mu.Lock()
		t.closed = true
		t.mu.Unlock()
		late := time.AfterFunc(closeTime, t.cancel)
		t.writes <- nil
		<-t.done
		late.Stop()
		t.cancel()
		t.work.Wait()
		t.host.close()
		if t.file != nil {
			t.failure = t.file.close()
		}
	})
	return t.failure
}

// Tiers returns a snapshot of the tiers below the arena.
func (p *Pool) Tiers() TierStats {
	t := p.tiers
	if t == nil {
		return TierStats{}
	}
	var st TierStats
	t.mu.Lock()
	st.Unwritten = t.skipped
	t.mu.Unlock()
	t.host.mu.Lock()
	st.Host = Tier{Records: len(t.host.entries), Bytes: t.host.used, Hits: t.host.hits, Evicted: t.host.evicted}
	t.host.mu.Unlock()
	if f := t.file; f != nil {
		f.mu.Lock()
		st.File = Tier{Records: len(f.index), Bytes: f.bytes, Hits: f.hits, Written: f.written, Damaged: f.damaged}
		st.FileErr = f.lost
		f.mu.Unlock()
	}
	if r := t.remote; r != nil {
		r.mu.Lock()
		st.Store, st.StoreDown = r.stats, r.failures >= storeFails
		r.mu.Unlock()
	}
	for i, tier := range []*Tier{&st.Host, &st.File, &st.Store} {
		tier.BytesPerSecond = t.rates[i].get()
	}
	return st
}

// rate is a moving average of bytes per second.
type rate struct {
	mu sync.Mutex
	x  float64
}

func (r *rate) get() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.x
}

func (r *rate) add(bytes int, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := float64(bytes) / max(d.Seconds(), 1e-9)
	if r.x == 0 {
		r.x = x
	} else {
		r.x += (x - r.x) / 8
	}
}

// doubt raises a rate that made restoring not worth while, so that it is measured again some day.
func (r *rate) doubt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.x *= 1.02
}

// seconds is how long bytes take; not known yet is no time.
func (r *rate) seconds(bytes int) float64 {
	x := r.get()
	if x == 0 {
		return 0
	}
	return float64(bytes) / x
}
