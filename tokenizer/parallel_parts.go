package tokenizer

import (
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// One text with its added tokens on several goroutines: it is cut where none of the stages can tell. A cut between two
// characters is safe if no added token holds their bytes side by side, so that each occurrence lies on one side; if
// normalisation leaves both alone and joins neither to the other; and if a piece always begins there. Each part then
// goes through all stages by itself. Where such cuts are too rare, the sections between tokens are cut one by one.

// cuts gives the places to cut text at for several goroutines, its end last; nil if it is to be left whole. The text need not be
// valid: a cut is between two characters that are, and invalid text ends at each.
func (p *fastPath) cuts(t *Tokenizer, before *addedMatcher, text []byte) []int {
	if len(text) < p.minParallel || p.threads < 2 || !p.parted(t, before) {
		return nil
	}
	size := p.partSize(len(text))
	var cuts []int
	for at := size; at+size/2 < len(text); at += size {
		var ok bool
		if at, ok = p.cutNear(before, text, at); ok {
			cuts = append(cuts, at)
		}
	}
	if len(cuts)*size*2 < len(text)-size { // less than half of them were found
		return nil
	}
	return append(cuts, len(text))
}

// parted reports that a text may be cut before its added tokens are looked for.
func (p *fastPath) parted(t *Tokenizer, before *addedMatcher) bool {
	return t.after == nil && (before == nil || !before.single)
}

// cutNear gives the next place from at on to cut text at, and whether there is one nearby.
func (p *fastPath) cutNear(before *addedMatcher, text []byte, at int) (int, bool) {
	for to := min(at+cutSearch, len(text)); at < to; at++ {
		if between(text, at) && p.apart(before, text, at) {
			return at, true
		}
	}
	return at, false
}

// between reports that valid characters stand on both sides of i > 0.
func between(text []byte, i int) bool {
	if text[i-1]|text[i] < utf8.RuneSelf {
		return true
	}
	if !utf8.RuneStart(text[i]) {
		return false
	}
	_, n := utf8.DecodeRune(text[i:])
	_, m := utf8.DecodeLastRune(text[:i])
	return (n > 1 || text[i] < utf8.RuneSelf) && (m > 1 || text[i-1] < utf8.RuneSelf)
}

// apart reports that text may be cut at i > 0 for all stages.
func (p *fastPath) apart(before *addedMatcher, text []byte, i int) bool {
	if !utf8.RuneStart(text[i]) || before != nil && before.beside(text[i-1], text[i]) {
		return false
	}
	if p.prefix && before != nil && before.last[text[i-1]] { // a prefix stands behind a token
		return false
	}
	if p.nfc {
		if c, _ := p.scan.tab.at(text, i); c&(clsNFC|clsMark) != 0 {
			return false
		}
		j := i - 1
		for !utf8.RuneStart(text[j]) {
			j--
		}
		if c, _ := p.scan.tab.at(text, j); c&(clsNFC|clsMark) != 0 {
			return false
		}
	}
	if p.units != nil {
		x, _ := utf8.DecodeLastRune(text[:i])
		y, _ := utf8.DecodeRune(text[i:])
		if x == '\u2581' || y == '\u2581' { // which normal takes for a space
			return false
		}
	}
	return p.forced(text, i)
}

// partSize is how large the parts of a text of n bytes are: many, so that all goroutines end at the same time.
func (f *fast) partSize(n int) int { return min(max(n/(8*f.threads), f.partMin), partMax) }

// share calls do for each k below n on up to f.threads goroutines, each with a worker of its own. The workers are to be
// released.
func (f *fast) share(n int, do func(w *worker, k int)) []*worker {
	workers := make([]*worker, min(f.threads, n))
	var next atomic.Int64
	work := func(i int) {
		w := f.acquire()
		workers[i] = w
		for k := int(next.Add(1)) - 1; k < n; k = int(next.Add(1)) - 1 {
			do(w, k)
		}
	}
	var wg sync.WaitGroup
	for i := 1; i < len(workers); i++ {
		wg.Go(func() { work(i) })
	}
	work(0)
	wg.Wait()
	return workers
}

// room gives an empty slice for the ids of a part of n bytes, which stays as it is until the worker is released.
func (w *worker) room(n int) []uint32 {
	if k := len(w.rooms) - 1; k >= 0 {
		if r := w.rooms[k]; cap(r)-len(r) >= n+idSlack {
			return r[len(r):]
		}
	}
	if k := len(w.rooms); k < cap(w.rooms) && cap(w.rooms[:k+1][k]) >= n+idSlack { // of an earlier text
		w.rooms = w.rooms[:k+1]
	} else {
		w.rooms = append(w.rooms, make([]uint32, 0, max(n+idSlack, min(8*n, roomIDs))))
	}
	return w.rooms[len(w.rooms)-1]
}

// keepRoom notes that ids are in the slice that room gave; they may have outgrown it.
func (w *worker) keepRoom(ids []uint32) {
	r := &w.rooms[len(w.rooms)-1]
	if free := cap(*r) - len(*r); len(ids) > 0 && free == cap(ids) && len(ids) <= free {
		*r = (*r)[:len(*r)+len(ids)]
	}
}

// parts gives the k-th part of a text that is cut, in UTF-8.
func partOf(text []byte, cuts []int, k int) []byte {
	from := 0
	if k > 0 {
		from = cuts[k-1]
	}
	return validUTF8(text[from:cuts[k]])
}

func (p *fastPath) appendParts(t *Tokenizer, before *addedMatcher, dst []uint32, text []byte, cuts []int, o *searchOptions) []uint32 {
	p.reserve(len(text))
	j := joiner{dst: dst, had: len(dst), cuts: cuts, parts: make([]*[]uint32, len(cuts))}
	workers := p.share(len(cuts), func(w *worker, k int) {
		part, room := partOf(text, cuts, k), roomPool.Get().(*[]uint32)
		ids := (*room)[:0]
		if cap(ids) < len(part)+1+idSlack {
			ids = make([]uint32, 0, len(part)+len(part)/16+1+idSlack)
		}
		// Options that cannot fail: positions are not tracked.
		_ = p.sections(t, before, nstring{text: part, hi: len(part)}, o, func(id uint32) { ids = append(ids, id) },
			func(s []byte, first bool) { ids = w.encode(ids, w.normal(s), p.prefix && !(first && k > 0)) })
		*room = ids
		j.put(k, room)
	})
	for _, w := range workers {
		p.release(w)
	}
	return j.dst
}

// roomPool holds slices for the ids of parts.
var roomPool = sync.Pool{New: func() any { return new([]uint32) }}

// joiner appends the ids of parts in order, while others are still made: a part is copied once all before it are, by whoever comes by, and its
// room serves the next.
type joiner struct {
	dst   []uint32 // of the goroutine that has set busy
	had   int      // its length before
	cuts  []int
	mu    sync.Mutex
	parts []*[]uint32 // done and not yet copied
	next  int         // the first that is not copied
	busy  bool
}

func (j *joiner) put(k int, ids *[]uint32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.parts[k] = ids
	if j.busy {
		return
	}
	j.busy = true
	for j.next < len(j.parts) && j.parts[j.next] != nil {
		ids := j.parts[j.next]
		j.mu.Unlock()
		j.copy(*ids)
		roomPool.Put(ids)
		j.mu.Lock()
		j.next++
	}
	j.busy = false
}

func (j *joiner) copy(ids []uint32) {
	if need := len(ids) + idSlack; cap(j.dst)-len(j.dst) < need {
		done := 0
		if j.next > 0 {
			done = j.cuts[j.next-1]
		}
		j.dst = growIDs(j.dst, need, len(j.dst)-j.had, done, j.cuts[len(j.cuts)-1]-done)
	}
	j.dst = append(j.dst, ids...)
}

// appendSteps appends the ids of a long text on this goroutine, part by part, so that a part is in the cache of the CPU for all stages.
func (p *fastPath) appendSteps(t *Tokenizer, before *addedMatcher, dst []uint32, text []byte, o *searchOptions) []uint32 {
	p.reserve(len(text))
	w, had, size := p.acquire(), len(dst), p.partSize(len(text))
	for from, to := 0, 0; from < len(text); from = to {
		for ok := false; !ok; {
			if to += size; to+size/2 >= len(text) {
				to = len(text)
				break
			}
			to, ok = p.cutNear(before, text, to)
		}
		part, first := validUTF8(text[from:to]), from == 0
		if need := len(part) + 1 + idSlack; cap(dst)-len(dst) < need {
			dst = growIDs(dst, need, len(dst)-had, from, len(text)-from)
		}
		_ = p.sections(t, before, nstring{text: part, hi: len(part)}, o, func(id uint32) { dst = append(dst, id) },
			func(s []byte, begin bool) { dst = w.encode(dst, w.normal(s), p.prefix && (first || !begin)) })
	}
	p.release(w)
	return dst
}

func (p *fastPath) countParts(t *Tokenizer, before *addedMatcher, text []byte, cuts []int, inner bool) (total int) {
	p.reserve(len(text))
	counts := make([]int, len(cuts))
	workers := p.share(len(cuts), func(w *worker, k int) {
		part := partOf(text, cuts, k)
		_ = p.sections(t, before, nstring{text: part, hi: len(part)}, &searchModes[Recognise], func(uint32) { counts[k]++ },
			func(s []byte, first bool) {
				counts[k] += w.count(w.normal(s), p.prefix && !(first && (inner || k > 0)))
			})
	})
	p.releaseParts(workers)
	for _, n := range counts {
		total += n
	}
	return total
}

// joinParts appends parts on some goroutines: a text's ids take about as many bytes as the text.
func joinParts(dst []uint32, parts [][]uint32, goroutines int) []uint32 {
	total := 0
	for _, ids := range parts {
		total += len(ids)
	}
	if cap(dst)-len(dst) < total {
		dst = append(make([]uint32, 0, len(dst)+total+idSlack), dst...)
	}
	at := len(dst)
	dst = dst[:at+total]
	var wg sync.WaitGroup
	for n := max(1, (len(parts)+goroutines-1)/goroutines); len(parts) > 0; {
		some, to := parts[:min(n, len(parts))], dst[at:]
		parts = parts[len(some):]
		for _, ids := range some {
			at += len(ids)
		}
		copyParts := func() {
			for _, ids := range some {
				to = to[copy(to, ids):]
			}
		}
		if len(parts) == 0 {
			copyParts()
		} else {
			wg.Go(copyParts)
		}
	}
	wg.Wait()
	return dst
}
