package tokenizer

import (
	"unicode/utf8"
	"unsafe"
)

// One text on several goroutines. A text is cut into parts at forced boundaries: places where every match of the
// pattern that holds the character before ends, whatever follows. Where there is none nearby, the next part begins at
// a guess: its first pieces are kept apart, and where the part before, which scans on to its last piece's end, meets
// one of their ends, the two join. That is exact, because a scanner at a piece's begin knows nothing of what is before.

const (
	partMin    = 16 << 10 // bytes of a part
	partMax    = 64 << 10
	roomIDs    = 1 << 19 // ids that a worker makes room for at a time
	cutSearch  = 2 << 10 // bytes in which a forced boundary is looked for
	guessHead  = 64      // pieces of a guessed part that may be joined at
	guessReach = 4 << 10 // a guessed part whose first pieces reach this far beyond it is given up
)

type part struct {
	from, to int
	guess    bool // from is a guess
	head     []headPiece
	failed   bool // the guess came to nothing
	end      int  // where the last piece ends, at to or behind it
	ids      []uint32
	n        int
}

// headPiece is an end of a piece and how many ids stand before it.
type headPiece struct{ end, ids int }

// forced reports that text[p], p > 0, always begins a piece.
func (f *fast) forced(text []byte, p int) bool {
	if !utf8.RuneStart(text[p]) {
		return false
	}
	if f.units != nil {
		x, _ := utf8.DecodeLastRune(text[:p])
		y, _ := utf8.DecodeRune(text[p:])
		return f.units.cut(x, y)
	}
	i := p - 1
	for i > 0 && !utf8.RuneStart(text[i]) {
		i--
	}
	a, _ := f.scan.tab.at(text, i)
	b, _ := f.scan.tab.at(text, p)
	// A letter ends with the letters of its match, but for o200k's contractions; a number with the numbers of its
	// match. No alternative holds either before anything else.
	if a&clsL != 0 && a&clsMark == 0 {
		return b&(clsL|clsMark) == 0 && (f.scan.kind != scanO200K || text[p] != '\'')
	}
	return a&clsN != 0 && b&clsN == 0
}

// parts cuts a text into parts of about size bytes.
func (f *fast) parts(text []byte, size int) (ps []part) {
	from, guess := 0, false
	for from < len(text) {
		to, g := len(text), false
		if near := from + size; near+size/2 < len(text) {
			to = near
			for far := min(near+cutSearch, len(text)); to < far && !f.forced(text, to); to++ {
			}
			if to == min(near+cutSearch, len(text)) {
				for to = near; to < len(text) && !utf8.RuneStart(text[to]); to++ {
				}
				g = to < len(text)
			}
		}
		ps = append(ps, part{from: from, to: to, guess: guess})
		from, guess = to, g
	}
	return ps
}

// run encodes or counts a part. closed says that a forced boundary ends it, so that what follows does not matter.
func (p *part) run(w *worker, text []byte, prefix, closed, counting bool) {
	if closed {
		text = text[:p.to]
	}
	var emit func(base unsafe.Pointer, starts []uint32)
	if counting && !p.guess {
		emit = func(base unsafe.Pointer, starts []uint32) { p.n += w.emitCount(base, starts) }
	} else {
		p.ids = w.room(p.to - p.from + 1)
		emit = func(base unsafe.Pointer, starts []uint32) { p.ids = w.emit(p.ids, base, starts) }
		defer func() { w.keepRoom(p.ids) }()
	}
	from := p.from
	if p.guess {
		reach := text[:min(len(text), p.to+guessReach)]
		for len(p.head) < guessHead && from < p.to {
			end := w.f.step(reach, from)
			if end == len(reach) && end < len(text) {
				p.failed, p.ids = true, nil
				return
			}
			p.ids = w.f.encodePiece(p.ids, text[from:end])
			from = end
			p.head = append(p.head, headPiece{from, len(p.ids)})
		}
	}
	p.end = from + w.each(text[from:], prefix, p.to-from, emit)
}

// join makes a guessed part begin at the place where the part before it ended.
func (p *part) join(w *worker, text []byte, at int, closed bool) {
	start, patch := at, []uint32(nil)
	if !p.failed {
		for _, h := range p.head {
			for at < h.end {
				end := w.f.step(text, at)
				patch = w.f.encodePiece(patch, text[at:end])
				at = end
			}
			if at == h.end {
				p.ids = append(patch, p.ids[h.ids:]...)
				return
			}
		}
	}
	// No common end: this part is encoded anew from where it does begin.
	p.ids, p.end = nil, start
	if start < p.to {
		if closed {
			text = text[:p.to]
		}
		p.end = start + w.each(text[start:], false, p.to-start, func(base unsafe.Pointer, starts []uint32) { p.ids = w.emit(p.ids, base, starts) })
	}
}

// runParts encodes or counts text in parts; the workers that hold the parts' ids are to be released.
func (f *fast) runParts(text []byte, prefix, counting bool) ([]part, []*worker) {
	f.reserve(len(text))
	ps := f.parts(text, f.partSize(len(text)))
	workers := f.share(len(ps), func(w *worker, i int) {
		ps[i].run(w, text, prefix && i == 0, i+1 == len(ps) || !ps[i+1].guess, counting)
	})
	for i := range ps {
		if p := &ps[i]; p.guess {
			p.join(workers[0], text, ps[i-1].end, i+1 == len(ps) || !ps[i+1].guess)
			p.n = len(p.ids)
		}
	}
	return ps, workers
}

// parallel appends the ids of text with up to f.threads goroutines.
func (f *fast) parallel(dst []uint32, text []byte, prefix bool) []uint32 {
	ps, workers := f.runParts(text, prefix, false)
	ids := make([][]uint32, len(ps))
	for i := range ps {
		ids[i] = ps[i].ids
	}
	dst = joinParts(dst, ids, len(workers))
	f.releaseParts(workers)
	return dst
}

func (f *fast) parallelCount(text []byte, prefix bool) (n int) {
	ps, workers := f.runParts(text, prefix, true)
	for i := range ps {
		n += ps[i].n
	}
	f.releaseParts(workers)
	return n
}

// releaseParts releases workers, and lets go of what only a very long text needs.
func (f *fast) releaseParts(workers []*worker) {
	for _, w := range workers {
		clear(w.rooms[:cap(w.rooms)][min(2, cap(w.rooms)):])
		for i, r := range w.rooms {
			if w.rooms[i] = r[:0]; cap(r) > 2*roomIDs {
				w.rooms[i] = nil
			}
		}
		w.rooms = w.rooms[:0]
		f.release(w)
	}
}
