package kvcache

import (
	"context"
	"sync"
	"time"
)

// Fetch is the search of the lower tiers for a prompt's blocks, and their way up. All methods do nothing on nil.
type Fetch struct {
	s        *Space
	ctx      context.Context
	cancel   context.CancelFunc
	perToken float64

	mu    sync.Mutex
	found bool
	from  int   // blocks that the arena had
	keys  []Key // of the blocks from there on that are worth loading

	ready   chan *entry // loaded, in order; nil before Load
	current *entry      // that the owner looks at
	until   time.Time   // when loading has taken longer than computing
}

// window is how many records a Fetch loads ahead of its owner.
const window = 4

// Fetch looks in the lower tiers for what they hold of tokens beyond the arena. perToken is how many seconds the model
// takes to compute one (0: not known). It does not wait; Wake is called when Found turns true. tokens must not change.
func (s *Space) Fetch(tenant string, tokens []uint32, perToken float64) *Fetch {
	whole := len(tokens) / BlockTokens
	if s.tiers == nil || whole == 0 {
		return nil
	}
	held := s.peek(tenant, tokens)
	if held >= whole {
		return nil
	}
	f := &Fetch{s: s, perToken: perToken}
	f.ctx, f.cancel = context.WithCancel(s.tiers.ctx)
	ok := s.tiers.start(func() {
		keys, from := f.search(tenant, tokens[:whole*BlockTokens], held), held
		f.mu.Lock()
		f.keys, f.from, f.found = keys, from, true
		f.mu.Unlock()
		s.news()
	})
	if !ok {
		f.cancel()
		return nil
	}
	return f
}

// news calls Wake.
func (s *Space) news() {
	if s.o.Wake != nil {
		s.o.Wake()
	}
}

// peek returns how many whole blocks of tokens the arena holds, without using them.
func (s *Space) peek(tenant string, tokens []uint32) int {
	s.lock()
	defer s.pool.mu.Unlock()
	t := s.tenants[tenant]
	if t == nil {
		return 0
	}
	kids, held := t.kids, 0
	for (held+1)*BlockTokens <= len(tokens) {
		n, m := s.longest(kids, tokens[held*BlockTokens:])
		if m < BlockTokens || s.stale(n, s.now) {
			break
		}
		kids = n.kids
		held++
	}
	return held
}

// search returns the keys of the blocks from held on that the tiers have and that come faster from there than from the
// model.
func (f *Fetch) search(tenant string, tokens []uint32, held int) []Key {
	t := f.s.tiers
	keys := make([]Key, 0, len(tokens)/BlockTokens)
	for k, i := f.s.root.tenant(tenant), 0; i < len(tokens); i += BlockTokens {
		k = k.next(tokens[i:])
		keys = append(keys, k)
	}
	keys = keys[held:]
	since := t.since()
	levels := make([]int, 0, len(keys))
	for _, k := range keys {
		l := t.local(k, since)
		if l == noLevel {
			break
		}
		levels = append(levels, l)
	}
	if rest := keys[len(levels):]; len(rest) > 0 && t.remote != nil && t.remote.up() && t.remote.quick(f.perToken*float64(len(rest)*BlockTokens)) {
		n, began := 0, time.Now()
		err := t.remote.call(f.ctx, t.o.StoreTimeout, func(ctx context.Context) (err error) {
			got, err := t.remote.store.Prefix(ctx, rest)
			f.mu.Lock()
			defer f.mu.Unlock()
			n = min(max(got, 0), len(rest))
			return err
		}, nil)
		if err == nil {
			t.remote.answered(time.Since(began))
			f.mu.Lock()
			for range n {
				levels = append(levels, levelStore)
			}
			f.mu.Unlock()
		}
	}
	return keys[:f.worth(levels)]
}

// worth returns how many of the blocks, which lie on the given levels, to load: up to where the time won over the model
// is greatest.
func (f *Fetch) worth(levels []int) int {
	if f.perToken == 0 {
		return len(levels)
	}
	bytes := int(f.s.o.BlockBytes)
	best, n, won := 0.0, 0, 0.0
	for i, l := range levels {
		won += f.perToken*BlockTokens - f.s.tiers.rates[l].seconds(bytes) - f.s.move.seconds(bytes)
		if won > best {
			best, n = won, i+1
		}
	}
	if n < len(levels) {
		f.s.tiers.rates[levels[n]].doubt()
	}
	return n
}

// Found reports whether the search has ended.
func (f *Fetch) Found() bool {
	if f == nil {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.found
}

// Span returns the positions that are worth loading; it is empty when there are none.
func (f *Fetch) Span() (from, to int) {
	if f == nil {
		return 0, 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.from * BlockTokens, (f.from + len(f.keys)) * BlockTokens
}

// Load begins to load the blocks from position from on, a multiple of BlockTokens within Span.
func (f *Fetch) Load(from int) {
	if f == nil || f.ready != nil {
		return
	}
	f.ready = make(chan *entry, window)
	keys := f.keys[from/BlockTokens-f.from:]
	t := f.s.tiers
	limit := max(t.o.StoreTimeout, time.Duration(f.perToken*float64(len(keys)*BlockTokens)*float64(time.Second)))
	if f.perToken == 0 {
		limit = max(limit, unknownLimit)
	}
	f.until = time.Now().Add(limit)
	c, cancel := context.WithDeadline(f.ctx, f.until)
	ok := t.start(func() {
		defer cancel()
		f.load(c, keys)
	})
	if !ok {
		cancel()
		close(f.ready)
	}
}

// unknownLimit bounds loading while nobody knows how long computing would take.
const unknownLimit = 10 * time.Second

// load brings records up, in order, until one is missing.
func (f *Fetch) load(ctx context.Context, keys []Key) {
	defer f.s.news()
	defer func() {
		close(f.ready)
		if f.ctx.Err() != nil {
			f.drain()
		}
	}()
	since := f.s.tiers.since()
	for _, k := range keys {
		e := f.one(ctx, k, since)
		if e == nil {
			return
		}
		select {
		case f.ready <- e:
			f.s.news()
		case <-ctx.Done():
			f.s.tiers.host.unref(e)
			return
		}
	}
}

// one returns the record of a key from the first tier that has it, with a reference, or nil.
func (f *Fetch) one(ctx context.Context, k Key, since int64) *entry {
	t := f.s.tiers
	if e := t.host.get(k, since); e != nil {
		if len(e.rec) == int(f.s.o.BlockBytes)+headerBytes {
			return e
		}
		t.host.unref(e)
		return nil
	}
	level := levelStore
	if t.file != nil && t.file.has(k, since) {
		level = levelFile
	} else if t.remote == nil {
		return nil
	}
	e := f.room(ctx)
	if e == nil {
		return nil
	}
	began := time.Now()
	if level == levelFile {
		ok, damaged := t.file.read(k, e.rec, since)
		if damaged {
			t.o.OnEvent(Event{Kind: Damaged})
		}
		if !ok {
			t.host.unref(e)
			return nil
		}
	} else if !f.ask(k, e, since) {
		t.host.unref(e)
		return nil
	}
	t.rates[level].add(len(e.rec), time.Since(began))
	h, _ := parseHeader(e.rec)
	t.host.publish(e, k, h.written)
	if level == levelStore && t.file != nil { // what came from afar is kept near
		t.host.ref(e)
		if !t.enqueue(e) {
			t.host.unref(e)
		}
	}
	return e
}

// ask gets a record from the store.
func (f *Fetch) ask(k Key, e *entry, since int64) bool {
	t := f.s.tiers
	limit := time.Until(f.until)
	if limit <= 0 {
		return false
	}
	t.host.ref(e) // the store may write to it after the call was given up
	var got bool
	var mu sync.Mutex
	err := t.remote.call(f.ctx, limit, func(c context.Context) error {
		ok, err := t.remote.store.Get(c, k, e.rec)
		mu.Lock()
		defer mu.Unlock()
		got = ok
		return err
	}, func() { t.host.unref(e) })
	mu.Lock()
	defer mu.Unlock()
	if err != nil || !got {
		return false
	}
	written, ok := intact(e.rec, k)
	t.remote.count(func(s *Tier) {
		if ok {
			s.Hits++
		} else {
			s.Damaged++
		}
	})
	if !ok {
		t.o.OnEvent(Event{Kind: Damaged})
	}
	return ok && written >= since
}

// room waits for memory for a record.
func (f *Fetch) room(ctx context.Context) *entry {
	for {
		freed := make(chan struct{}, 1)
		e := f.s.tiers.host.alloc(int(f.s.o.BlockBytes)+headerBytes, func() { freed <- struct{}{} })
		if e != nil {
			return e
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *Fetch) drain() {
	for e := range f.ready {
		f.s.tiers.host.unref(e)
	}
}

// Next returns the next block's bytes, valid until the following call. Without bytes, more says whether to ask again
// after Wake.
func (f *Fetch) Next() (data []byte, more bool) {
	if f == nil || f.ready == nil {
		return nil, false
	}
	f.free()
	select {
	case e := <-f.ready:
		if e == nil {
			return nil, false
		}
		f.current = e
		return e.rec[headerBytes:], true
	default:
		return nil, time.Now().Before(f.until)
	}
}

// free gives the record back that Next returned last.
func (f *Fetch) free() {
	if f.current != nil {
		f.s.tiers.host.unref(f.current)
		f.current = nil
	}
}

// Moved says that the holder has put the last block into the arena and committed it, and how long the former took.
func (f *Fetch) Moved(d time.Duration) {
	if f == nil || f.current == nil {
		return
	}
	s := f.s
	s.move.add(len(f.current.rec), d)
	s.pool.mu.Lock()
	if q := s.dirty.ids; len(q) > s.dirty.head { // it need not go down again
		if n := &s.nodes[q[len(q)-1]]; n.chain == f.current.key {
			n.dirty = false
		}
	}
	s.pool.mu.Unlock()
	s.tiers.o.OnEvent(Event{Kind: Restored, Tokens: BlockTokens})
}

// Close ends the search and gives what was loaded back. It does not wait.
func (f *Fetch) Close() {
	if f == nil {
		return
	}
	f.cancel()
	f.free()
	if f.ready == nil {
		return
	}
	for {
		select {
		case e, ok := <-f.ready:
			if !ok {
				return
			}
			f.s.tiers.host.unref(e)
		default:
			return // the loader drains what it still brings
		}
	}
}

// Spill copies at most n blocks that have filled up since, to the lower tiers, and reports whether it could copy more
// now; if only memory is missing, Wake is called when there is some. The model's owner calls it.
func (s *Space) Spill(read func(dst []byte, ids []uint32) error, n int) (more bool, err error) {
	t := s.tiers
	if t == nil {
		return false, nil
	}
	for ; n > 0; n-- {
		id, key, tenant, ok := s.nextDirty()
		if !ok {
			return false, nil
		}
		if t.saved(key) {
			s.clean(id)
			continue
		}
		e := t.host.alloc(int(s.o.BlockBytes)+headerBytes, s.news)
		if e == nil {
			return false, nil
		}
		err := read(e.rec[headerBytes:], []uint32{id})
		s.clean(id)
		if err != nil {
			t.host.unref(e)
			return false, err
		}
		now := t.o.Now()
		seal(e.rec, key, now)
		t.host.publish(e, key, now.Unix())
		if t.file == nil && t.remote == nil || !t.enqueue(e) {
			t.host.unref(e)
		}
		t.o.OnEvent(Event{Kind: Spilled, Tenant: tenant, Tokens: BlockTokens})
	}
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.dirty.len() > 0, nil
}

// nextDirty returns the block that waits for longest to be copied down. Its content stays until its owner's next step,
// even if another space's need evicts it.
func (s *Space) nextDirty() (id uint32, key Key, tenant string, ok bool) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	for s.dirty.len() > 0 {
		id := s.dirty.ids[s.dirty.head]
		if n := &s.nodes[id]; n.dirty {
			return id, n.chain, n.owner.name, true
		}
		s.dirty.head++
	}
	return 0, key, "", false
}

// clean takes a block off the list.
func (s *Space) clean(id uint32) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.nodes[id].dirty = false
}

// Drain is Spill of everything, waiting for memory, at most for the time given.
func (s *Space) Drain(read func(dst []byte, ids []uint32) error, limit time.Duration) {
	if s.tiers == nil {
		return
	}
	for until := time.Now().Add(limit); !s.tiers.isClosed(); {
		more, err := s.Spill(read, 1<<20)
		if err != nil {
			return
		}
		if _, _, _, waits := s.nextDirty(); !waits || !more && !time.Now().Before(until) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
