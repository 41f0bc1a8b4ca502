package krserve

// stopper finds stop strings in a text that arrives in pieces. It holds back exactly the bytes that could still become
// one: the longest end of the text that begins a stop string. The stop string that is complete first ends the text,
// among several the longest, wherever the borders of the pieces are.
type stopper struct {
	stops []pattern
	held  []byte
}

// pattern is a string with its failure function (Knuth, Morris, Pratt, SIAM J. Comput. 1977).
type pattern struct {
	text  string
	fail  []int32
	state int32 // bytes matched so far
}

func newStopper(stops []string) *stopper {
	s := &stopper{stops: make([]pattern, len(stops))}
	for i, text := range stops {
		fail := make([]int32, len(text))
		for j, k := 1, int32(0); j < len(text); j++ {
			for k > 0 && text[j] != text[k] {
				k = fail[k-1]
			}
			if text[j] == text[k] {
				k++
			}
			fail[j] = k
		}
		s.stops[i] = pattern{text: text, fail: fail}
	}
	return s
}

// push takes text and returns what is certain not to belong to a stop string, and whether one is complete.
func (s *stopper) push(text string) (out string, stopped bool) {
	if len(s.stops) == 0 {
		return text, false
	}
	for i := range len(text) {
		s.held = append(s.held, text[i])
		if n := s.next(text[i]); n > 0 {
			out = string(s.held[:len(s.held)-n])
			s.held = s.held[:0]
			return out, true
		}
	}
	keep := 0
	for i := range s.stops {
		keep = max(keep, int(s.stops[i].state))
	}
	out = string(s.held[:len(s.held)-keep])
	s.held = append(s.held[:0], s.held[len(s.held)-keep:]...)
	return out, false
}

// next advances all patterns by a byte and returns the length of the longest that is complete.
func (s *stopper) next(c byte) int {
	n := 0
	for i := range s.stops {
		p := &s.stops[i]
		for p.state > 0 && p.text[p.state] != c {
			p.state = p.fail[p.state-1]
		}
		if p.text[p.state] == c {
			p.state++
		}
		if int(p.state) == len(p.text) {
			n = max(n, len(p.text))
			p.state = 0
		}
	}
	return n
}

// flush returns what was held back, at the text's end.
func (s *stopper) flush() string {
	out := string(s.held)
	s.held = s.held[:0]
	return out
}
