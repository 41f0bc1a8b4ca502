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

// cuts gives the places to cut n at, the text's end last; nil if it is to be left whole.
func (p *fastPath) cuts(t *Tokenizer, before *addedMatcher, n *nstring) []int {
	text := n.text
	if len(text) < p.minParallel || p.threads < 2 || n.track || t.after != nil || before != nil && before.single {
		return nil
	}
	size := min(max(len(text)/(4*p.threads), p.partMin), partMax)
	var cuts []int
	for at := size; at+size/2 < len(text); at += size {
		for to := min(at+cutSearch, len(text)); at < to; at++ {
			if p.apart(before, text, at) {
				cuts = append(cuts, at)
				break
			}
		}
	}
	if len(cuts)*size*2 < len(text)-size { // less than half of them were found
		return nil
	}
	return append(cuts, len(text))
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

// each runs do for every part, on up to threads goroutines, each with a worker of its own. The workers are to be
// released.
func (p *fastPath) eachPart(cuts []int, do func(w *worker, k, from, to int)) []*worker {
	workers := make([]*worker, min(p.threads, len(cuts)))
	var next atomic.Int64
	work := func(i int) {
		w := p.acquire()
		workers[i] = w
		w.parts = w.parts[:0]
		for {
			k := int(next.Add(1)) - 1
			if k >= len(cuts) {
				return
			}
			from := 0
			if k > 0 {
				from = cuts[k-1]
			}
			do(w, k, from, cuts[k])
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

func (p *fastPath) appendParts(t *Tokenizer, before *addedMatcher, dst []uint32, text []byte, cuts []int, o *searchOptions) []uint32 {
	ids := make([][]uint32, len(cuts))
	workers := p.eachPart(cuts, func(w *worker, k, from, to int) {
		w.reserve(len(text) / p.threads)
		if cap(w.parts)-len(w.parts) < (to-from)/2 { // the parts so far stay where they are
			w.parts = make([]uint32, 0, max(2*cap(w.parts), to-from))
		}
		start := len(w.parts)
		// Options that cannot fail: positions are not tracked.
		_ = p.sections(t, before, nstring{text: text[from:to], hi: to - from}, o, func(id uint32) { w.parts = append(w.parts, id) },
			func(s []byte, first bool) { w.parts = w.encode(w.parts, p.normal(s), p.prefix && !(first && k > 0)) })
		ids[k] = w.parts[start:]
	})
	dst = joinParts(dst, ids, len(workers))
	p.releaseParts(workers)
	return dst
}

func (p *fastPath) countParts(t *Tokenizer, before *addedMatcher, text []byte, cuts []int, inner bool) (total int) {
	counts := make([]int, len(cuts))
	workers := p.eachPart(cuts, func(w *worker, k, from, to int) {
		_ = p.sections(t, before, nstring{text: text[from:to], hi: to - from}, &searchModes[Recognise], func(uint32) { counts[k]++ },
			func(s []byte, first bool) {
				counts[k] += w.count(p.normal(s), p.prefix && !(first && (inner || k > 0)))
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
		dst = append(make([]uint32, 0, len(dst)+total+8), dst...)
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
