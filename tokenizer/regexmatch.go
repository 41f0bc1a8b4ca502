package tokenizer

import (
	"unicode/utf8"
)

// reMatcher finds the matches of one regex in one text, from left to right.
type reMatcher struct {
	re    *regex
	text  []byte
	stack []reState
	trail []reTrial
	pages map[int]*rePage
	low   int // pages below are dropped
	begin int // where the last match ended (\G)
	runs  []reRun
}

// reState is a state to try later; a run gives back characters down to lo.
type reState struct {
	pc, pos, lo int32 // lo may be reOnce or reDead
}

const (
	reOnce = -1 // try pc at pos
	reDead = -2 // note that the run at pc failed from pos on
)

// reTrial is a state on trial, and how deep the stack was.
type reTrial struct {
	memo, pos, depth int32
}

// reRun is the last run that an opRun instruction measured: from..to belong to its set; from dead on it fails.
type reRun struct {
	from, to, dead int
}

const rePageBits = 12

// rePage remembers failed states of 4096 positions, allocated per instruction.
type rePage [][]uint64

func (re *regex) matcher(text []byte) *reMatcher {
	m := &reMatcher{re: re, text: text, runs: make([]reRun, len(re.prog))}
	for i := range m.runs {
		m.runs[i] = reRun{-1, -1, 0}
	}
	return m
}

// failed reports whether the state is known to fail, and notes it as failing otherwise: a state on trial that is reached again without
// consuming anything cannot succeed by another way.
func (m *reMatcher) failed(memo int32, pos int) bool {
	n := pos >> rePageBits
	pg := m.pages[n]
	if pg == nil {
		if m.pages == nil {
			m.pages = map[int]*rePage{}
		}
		p := make(rePage, m.re.memo)
		pg = &p
		m.pages[n] = pg
	}
	bits := (*pg)[memo]
	if bits == nil {
		bits = make([]uint64, 1<<rePageBits/64)
		(*pg)[memo] = bits
	}
	w, b := pos&(1<<rePageBits-1)>>6, uint64(1)<<(pos&63)
	if bits[w]&b != 0 {
		return true
	}
	bits[w] |= b
	return false
}

// next finds the leftmost match that starts at from or later.
func (m *reMatcher) next(from int) (start, end int, ok bool) {
	for n := from >> rePageBits; m.low < n; m.low++ {
		delete(m.pages, m.low)
	}
	m.begin = from
	for p := from; p <= len(m.text); {
		if p < len(m.text) {
			r, n := utf8.DecodeRune(m.text[p:])
			if m.re.first != nil && !m.re.first.has(r) {
				p += n
				continue
			}
			if e, ok := m.run(0, p); ok {
				return p, e, true
			}
			p += n
			continue
		}
		if m.re.first == nil {
			if e, ok := m.run(0, p); ok {
				return p, e, true
			}
		}
		break
	}
	return 0, 0, false
}

// run tries the program from pc at pos; it returns where the match ends.
func (m *reMatcher) run(pc int32, pos int) (int, bool) {
	base := len(m.stack)
	text := m.text
	// The trail holds the states on trial; those that succeed are unmarked on the way out.
	trail := m.trail
	mine := len(trail)
	ok := false
loop:
	for {
		in := &m.re.prog[pc]
		if in.memo >= 0 && (in.op == opSplit || in.op == opRun || in.op == opAtomic || in.op == opLook) {
			if m.failed(in.memo, pos) {
				goto back
			}
			trail = append(trail, reTrial{in.memo, int32(pos), int32(len(m.stack))})
		}
		switch in.op {
		case opSet:
			if pos < len(text) {
				c := text[pos]
				if c < utf8.RuneSelf {
					if in.set.ascii[c>>6]>>(c&63)&1 != 0 {
						pos++
						pc++
						continue
					}
				} else if r, n := utf8.DecodeRune(text[pos:]); in.set.slow(r) {
					pos += n
					pc++
					continue
				}
			}
		case opSplit:
			m.stack = append(m.stack, reState{in.y, int32(pos), reOnce})
			pc = in.x
			continue
		case opJump:
			pc = in.x
			continue
		case opRun, opRunAll:
			end := m.runEnd(pc, in.set, pos)
			if in.op == opRun && end > pos {
				if m.runs[pc].dead <= pos {
					goto back
				}
				m.stack = append(m.stack, reState{pc, int32(pos), reDead}, reState{pc, int32(end), int32(pos)})
			}
			pos, pc = end, in.x
			continue
		case opMatch:
			ok = true
			break loop
		case opAtomic:
			m.trail = trail
			if e, yes := m.run(pc+1, pos); yes {
				pos, pc = e, in.x
				continue
			}
		case opLook:
			m.trail = trail
			if _, yes := m.run(pc+1, pos); yes != in.negate {
				pc = in.x
				continue
			}
		case opAssert:
			if m.assert(in.assert, pos) {
				pc = in.x
				continue
			}
		}
	back:
		if len(m.stack) == base {
			break
		}
		top := len(m.stack) - 1
		s := &m.stack[top]
		for len(trail) > mine && int(trail[len(trail)-1].depth) > top {
			trail = trail[:len(trail)-1]
		}
		pc, pos = s.pc, int(s.pos)
		switch {
		case s.lo == reDead: // every way on from this run failed
			m.stack = m.stack[:top]
			if run := &m.runs[pc]; pos >= run.from && pos < run.to {
				run.dead = min(run.dead, pos)
			}
			goto back
		case s.lo == reOnce:
			m.stack = m.stack[:top]
			continue
		}
		// Give back one character of a run.
		lo := int(s.lo)
		for pos--; pos > lo && !utf8.RuneStart(text[pos]); {
			pos--
		}
		if pos == lo {
			m.stack = m.stack[:top]
		} else {
			s.pos = int32(pos)
		}
		pc = m.re.prog[pc].x
	}
	m.stack = m.stack[:base]
	if ok {
		for _, t := range trail[mine:] {
			(*m.pages[int(t.pos)>>rePageBits])[t.memo][t.pos&(1<<rePageBits-1)>>6] &^= 1 << (t.pos & 63)
		}
	}
	m.trail = trail[:mine]
	return pos, ok
}

// runEnd is where the run of set from pos ends.
func (m *reMatcher) runEnd(pc int32, set *runeSet, pos int) int {
	run := &m.runs[pc]
	if pos >= run.from && pos < run.to {
		return run.to
	}
	end := pos
	for end < len(m.text) {
		c := m.text[end]
		if c < utf8.RuneSelf {
			if set.ascii[c>>6]>>(c&63)&1 == 0 {
				break
			}
			end++
			continue
		}
		r, n := utf8.DecodeRune(m.text[end:])
		if !set.slow(r) {
			break
		}
		end += n
	}
	run.from, run.to, run.dead = pos, end, end
	return end
}

func (m *reMatcher) assert(kind byte, pos int) bool {
	word := func(before bool) bool {
		var r rune
		if before {
			if pos == 0 {
				return false
			}
			r, _ = utf8.DecodeLastRune(m.text[:pos])
		} else {
			if pos == len(m.text) {
				return false
			}
			r, _ = utf8.DecodeRune(m.text[pos:])
		}
		return uni().has(r, ufWord)
	}
	end := len(m.text)
	switch kind {
	case 'A':
		return pos == 0
	case 'z':
		return pos == end
	case 'Z':
		return pos == end || pos == end-1 && m.text[pos] == '\n'
	case '^':
		return pos == 0 || m.text[pos-1] == '\n' && pos < end
	case '$':
		return pos == end || m.text[pos] == '\n'
	case 'b':
		return word(true) != word(false)
	case 'B':
		return word(true) == word(false)
	case 'G':
		return pos == m.begin
	}
	return false
}

// findAll calls f for every stretch of text until it returns false: matches and what lies between them, as the reference's find_matches does.
// Empty matches are kept, and the search goes on one character later.
func (re *regex) findAll(text []byte, f func(start, end int, match bool) bool) {
	if len(text) == 0 {
		f(0, 0, false)
		return
	}
	m := re.matcher(text)
	prev, from := 0, 0
	lastEnd := -1
	for from <= len(text) {
		s, e, ok := m.next(from)
		if !ok {
			break
		}
		if s == e && s == lastEnd { // no empty match right behind a match
			if s == len(text) {
				break
			}
			_, n := utf8.DecodeRune(text[s:])
			from = s + n
			continue
		}
		if prev != s && !f(prev, s, false) || !f(s, e, true) {
			return
		}
		prev, lastEnd, from = e, e, e
	}
	if prev != len(text) {
		f(prev, len(text), false)
	}
}
