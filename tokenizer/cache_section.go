package tokenizer

import (
	"bytes"
	"runtime"
	"sync"
	"sync/atomic"
	"unicode/utf8"
	"unsafe"
)

// fastSpec says what stands before the model: pre-tokenizer patterns as Hugging Face spells them, in order ("gpt2",
// "digits1" for those that are no patterns), and whether the text is to be put in NFC.
type fastSpec struct {
	patterns []string
	nfc      bool
}

// fast encodes sections of text, between added tokens, with cached pieces. Immutable but for its cache and its list of idle
// workers, so it is safe for concurrent use.
type fast struct {
	m           *bpeModel
	mg          *merger
	plain       merger        // mg without whole tokens
	scan        *blockScanner // byte level
	units       *unitScanner  // SentencePiece kind
	chars       *wideChars    // byte level: where merging may begin with characters
	whole       []uint64      // tokens that their own text merges to
	ready       readyTokens   // the short ones of them, with ignore_merges all short tokens
	nfc         bool
	threads     int
	minParallel int
	partMin     int
	bounds      cacheBounds
	cache       atomic.Pointer[pieceCache]
	growing     sync.Mutex
	idle        []atomic.Pointer[worker]
	hits        atomic.Uint64
	misses      atomic.Uint64
}

const (
	defaultCache       = 32 << 20
	defaultMinParallel = 64 << 10
	maxStretch         = 1 << 30 // places in a text are 32 bits wide
)

// fastTables is what a fast derives from the vocabulary and the merges.
type fastTables struct {
	adj   *adjacency   // byte level; nil where pieces cannot be cut
	chars *wideChars   // byte level; may be nil
	whole []uint64     // may be nil
	units *unitScanner // SentencePiece kind
	ready readyTokens
}

// newFastTables gives nil for models that no scanner covers.
func newFastTables(m *bpeModel, mg *merger) *fastTables {
	if m.byteLevel {
		t := &fastTables{}
		var wg sync.WaitGroup
		wg.Go(func() {
			t.adj = byteAdjacency(m, mg)
			t.chars = newWideChars(m, mg, t.adj)
		})
		if !m.ignoreMerges {
			t.whole = wholeTokens(m, mg, m.byteID[:])
		}
		t.ready = newReadyTokens(m, t.whole, false)
		wg.Wait()
		return t
	}
	if u := newUnitScanner(m); u != nil {
		t := &fastTables{units: u, whole: wholeTokens(m, mg, u.symbols())}
		t.ready = newReadyTokens(m, t.whole, true)
		return t
	}
	return nil
}

// newFast gives nil for pipelines that no scanner covers.
func newFast(m *bpeModel, mg *merger, spec fastSpec, cfg Config) *fast {
	return fastOf(m, mg, spec, cfg, nil)
}

// fastOf is newFast where the tables may be there.
func fastOf(m *bpeModel, mg *merger, spec fastSpec, cfg Config, tables *fastTables) *fast {
	f := &fast{m: m, mg: mg, nfc: spec.nfc, threads: cfg.Threads, minParallel: cfg.MinParallelBytes, partMin: partMin}
	if f.threads <= 0 {
		f.threads = runtime.GOMAXPROCS(0)
	}
	if f.minParallel <= 0 {
		f.minParallel = defaultMinParallel
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = defaultCache
	}
	f.bounds = boundsOf(cfg.CacheBytes)
	kind, ok := scanKindOf(spec.patterns)
	if m.byteLevel != ok || !m.byteLevel && (len(spec.patterns) > 0 || spec.nfc || m.ignoreMerges) {
		return nil
	}
	if tables == nil {
		if tables = newFastTables(m, mg); tables == nil {
			return nil
		}
	}
	f.chars, f.whole, f.units, f.ready = tables.chars, tables.whole, tables.units, tables.ready
	f.plain = mg.mergesOnly()
	if m.byteLevel {
		f.scan = newBlockScanner(kind, tables.adj)
	}
	f.idle = make([]atomic.Pointer[worker], max(f.threads, 1))
	f.forget()
	return f
}

// acquire gives an idle worker or a new one; no other goroutine uses it until release.
func (f *fast) acquire() *worker {
	for i := range f.idle {
		if w := f.idle[i].Load(); w != nil && f.idle[i].CompareAndSwap(w, nil) {
			return w
		}
	}
	return newWorker(f)
}

// release keeps a worker, up to one for each thread.
func (f *fast) release(w *worker) {
	f.hits.Add(w.hits - w.misses)
	f.misses.Add(w.misses)
	w.hits, w.misses = 0, 0
	for i := range f.idle {
		if f.idle[i].Load() == nil && f.idle[i].CompareAndSwap(nil, w) {
			return
		}
	}
}

// stats gives the number of pieces that were, and were not, in a cache.
func (f *fast) stats() (hits, misses uint64) { return f.hits.Load(), f.misses.Load() }

func (f *fast) resetStats() {
	f.hits.Store(0)
	f.misses.Store(0)
}

// encodePiece appends the ids of one piece, without a cache.
func (f *fast) encodePiece(dst []uint32, b []byte) []uint32 {
	if id := f.wholeID(b); id != noID {
		return append(dst, id)
	}
	return f.mergePiece(dst, b)
}

// wholeID gives the token that a piece is as a whole, noID where it is none or its merges have to tell.
func (f *fast) wholeID(b []byte) uint32 {
	if len(b) <= readyBytes && f.ready.tab != nil {
		k := pieceKey(b)
		return f.ready.find(&k)
	}
	switch {
	case f.units != nil:
	case f.mg.whole != nil:
		if id, ok := f.mg.whole.find(b); ok {
			return id
		}
	case f.whole != nil && len(b) <= midBytes:
		if id, ok := f.m.vocab.find(b); ok && f.whole[id>>6]>>(id&63)&1 != 0 {
			return id
		}
	}
	return noID
}

// mergePiece appends the ids of a piece that is no token as a whole.
func (f *fast) mergePiece(dst []uint32, b []byte) []uint32 {
	var w shortWork
	if f.begin(&w, b) {
		return f.plain.short(dst, &w)
	}
	if f.units != nil {
		return f.plain.appendSymbols(dst, f.units.spell(nil, b))
	}
	return f.plain.appendBytes(dst, b)
}

// begin makes a short piece ready for its merges; false for others.
func (f *fast) begin(w *shortWork, b []byte) bool {
	n := 0
	if f.chars != nil && len(b) > 3 && b[0] >= 0xe0 {
		n = f.chars.spell(w.id[:], b)
	}
	switch {
	case n > 0:
	case len(b) > shortMax || f.plain.drops:
		return false
	case f.units != nil:
		n = len(f.units.spell(w.id[:0], b))
	case len(b) > 0:
		w.bytes(&f.plain, b)
		return true
	}
	w.symbols(&f.plain, n)
	return true
}

// appendSection appends the ids of text, valid UTF-8. prefix says that a space stands before it (SentencePiece kind).
func (f *fast) appendSection(dst []uint32, text []byte, prefix bool) []uint32 {
	if text = f.normal(text); len(text) >= f.minParallel && f.threads > 1 {
		return f.parallel(dst, text, prefix)
	}
	w := f.acquire()
	dst = w.append(dst, text, prefix)
	f.release(w)
	return dst
}

// append is appendSection on this goroutine; what normal does is done.
func (w *worker) append(dst []uint32, text []byte, prefix bool) []uint32 {
	w.f.reserve(len(text))
	return w.encode(dst, text, prefix)
}

// countSection gives the number of ids that appendSection appends.
func (f *fast) countSection(text []byte, prefix bool) int {
	if text = f.normal(text); len(text) >= f.minParallel && f.threads > 1 {
		return f.parallelCount(text, prefix)
	}
	w := f.acquire()
	n := w.count(text, prefix)
	f.release(w)
	return n
}

// normal gives text with what stands before the scanner done: NFC, and U+2581 made the space that it stands for.
func (f *fast) normal(text []byte) []byte { return f.normalIn(nil, text) }

// normalIn is normal with memory to use where the text changes.
func (f *fast) normalIn(buf, text []byte) []byte {
	if f.nfc {
		if n := nfcPrefix(classTables[scanQwen2](), text); n < len(text) {
			if need := len(text) + len(text)/16 + 64; cap(buf) < need {
				buf = make([]byte, 0, need)
			}
			return appendNFCFrom(buf[:0], text, n)
		}
	}
	if f.units != nil && bytes.Contains(text, spaceMarkUTF8) {
		return bytes.ReplaceAll(text, spaceMarkUTF8, []byte{' '})
	}
	return text
}

// normal is normal of fast for a part of a text; what it gives holds until it is called again.
func (w *worker) normal(text []byte) []byte {
	out := w.f.normalIn(w.norm, text)
	if w.f.nfc && len(out) > 0 && len(text) > 0 && &out[0] != &text[0] && cap(out) <= 4*partMax {
		w.norm = out
	}
	return out
}

var spaceMarkUTF8 = []byte("\u2581")

// encode appends the ids of text on this goroutine.
func (w *worker) encode(dst []uint32, text []byte, prefix bool) []uint32 {
	had, done := len(dst), 0
	w.each(text, prefix, len(text), func(base unsafe.Pointer, starts []uint32) {
		n := int(starts[len(starts)-1] - starts[0])
		if cap(dst)-len(dst) < n+idSlack {
			dst = growIDs(dst, n+idSlack, len(dst)-had, done, len(text)-done)
		}
		dst = w.emit(dst, base, starts)
		done += n
	})
	return dst
}

// count gives how many ids encode would append.
func (w *worker) count(text []byte, prefix bool) (n int) {
	w.each(text, prefix, len(text), func(base unsafe.Pointer, starts []uint32) { n += w.emitCount(base, starts) })
	return n
}

func (w *worker) emitCount(base unsafe.Pointer, starts []uint32) int {
	w.out = w.emit(w.out[:0], base, starts)
	n := len(w.out)
	if cap(w.out) > 1<<18 {
		w.out = nil
	}
	return n
}

// each calls f with batches of neighbouring starts of pieces, up to the first piece that ends at stop or behind it, and
// gives that end.
func (w *worker) each(text []byte, prefix bool, stop int, f func(base unsafe.Pointer, starts []uint32)) int {
	starts := w.span[:]
	pos, gone := 0, 0
	if prefix {
		pos = w.first(text, f)
	}
	readable := len(text)
	if w.f.units != nil {
		readable = cap(text) // a unit's end depends on nothing behind it
	}
	for readable-pos >= blockRead && pos+gone < stop && pos < len(text) {
		text, gone = text[pos:], gone+pos
		readable -= pos
		pos = 0
		last := min(readable-blockRead, stop-gone-1)
		for limit := min(last, maxStretch); pos <= limit; {
			starts[0] = uint32(pos)
			_, k := w.f.starts(text, pos, limit, starts, 1)
			for k > 2 && int(starts[k-2])+gone >= stop {
				k--
			}
			pos = int(starts[k-1])
			f(unsafe.Pointer(unsafe.SliceData(text)), starts[:k])
		}
	}
	if pos >= len(text) || pos+gone >= stop {
		return pos + gone
	}
	// The text's end, from a copy that may be read beyond.
	n := copy(w.tail[:], text[pos:])
	clear(w.tail[n:])
	k := 1
	starts[0] = 0
	for p := 0; p < n && p+pos+gone < stop; k++ {
		p = w.f.step(w.tail[:n], p)
		starts[k] = uint32(p)
	}
	f(unsafe.Pointer(&w.tail), starts[:k])
	return gone + pos + int(starts[k-1])
}

// first handles a space that stands before the text, together with the text's first unit.
func (w *worker) first(text []byte, f func(base unsafe.Pointer, starts []uint32)) int {
	end := 0
	if len(text) > 0 && !w.f.units.splits(' ', text) {
		end = w.f.step(text, 0)
	}
	w.pre = append(append(append(w.pre[:0], ' '), text[:end]...), make([]byte, blockRead)...)
	w.span[0], w.span[1] = 0, uint32(end+1)
	f(unsafe.Pointer(unsafe.SliceData(w.pre)), w.span[:2])
	if cap(w.pre) > 1<<16 {
		w.pre = nil
	}
	return end
}

// starts finds pieces with the scanner of the model's kind.
func (f *fast) starts(text []byte, pos, limit int, out []uint32, k int) (next, count int) {
	if f.units != nil {
		return f.units.scan(text, pos, limit, len(text), out, k)
	}
	return f.scan.scan(text, pos, limit, out, k)
}

// step gives the end of the piece that begins at text[i].
func (f *fast) step(text []byte, i int) int {
	if f.units != nil {
		return f.units.step(text, i)
	}
	return f.scan.step(f.scan.tab, text, i)
}

// byteAdjacency notes what stands side by side in tokens. With ignore_merges a whole piece may be a token that its
// merges do not lead to; were a part that looks like one cut off from its neighbours, it would be taken for it. So
// nothing is cut before or behind such tokens' characters.
func byteAdjacency(m *bpeModel, mg *merger) *adjacency {
	a := newAdjacency()
	seen := make([]bool, m.vocab.size()) // a token may come of several merges
	for _, e := range m.merges {
		if int(e.out) >= len(seen) || len(m.vocab.bytes(e.out)) == 0 {
			return nil
		}
		if !seen[e.out] {
			seen[e.out] = true
			a.add(m.vocab.bytes(e.out))
		}
	}
	if !m.ignoreMerges {
		return a
	}
	plain := mg.mergesOnly()
	var buf [64]uint32
	for id := range uint32(m.vocab.size()) {
		b := m.vocab.bytes(id)
		first, last := wideEdges(b)
		if !first && !last {
			continue
		}
		if !seen[id] {
			a.add(b)
		}
		if ids := plain.appendBytes(buf[:0], b); len(ids) == 1 && ids[0] == id {
			continue
		}
		if first {
			x := threeBytes(b)
			a.right[x>>6] |= 1 << (x & 63)
		}
		if last {
			x := threeBytes(b[len(b)-3:])
			a.left[x>>6] |= 1 << (x & 63)
		}
	}
	return a
}

// wideEdges reports whether b begins and ends with a whole three-byte character.
func wideEdges(b []byte) (first, last bool) {
	_, n := utf8.DecodeRune(b)
	_, k := utf8.DecodeLastRune(b)
	return n == 3, k == 3
}
