package tokenizer

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// unigram finds the segmentation of the greatest sum of scores by the Viterbi algorithm (Kudo 2018), in float64 from the start of the
// piece, as HF tokenizers adds them up.
type unigram struct {
	vocab        *vocab
	scores       []float64
	trie         *pieceTrie
	unk          uint32 // noID = none: every character is a piece, by check of the parser
	unkScore     float64
	byteFallback bool
	byteID       [256]uint32
	plainUnk     bool // SentencePiece: a run of unknown characters is never a piece
}

// unkPenalty is how far below the least score an unknown character is.
const unkPenalty = 10

type unigramNode struct {
	score float64
	from  int32 // -1 = not reached
	id    uint32
}

func (m *unigram) appendIDs(dst []uint32, piece []byte) []uint32 {
	for _, t := range m.appendTokens(nil, piece) {
		dst = append(dst, t.id)
	}
	return dst
}

func (m *unigram) appendTokens(dst []token, piece []byte) []token {
	nodes := make([]unigramNode, len(piece)+1)
	for i := range nodes {
		nodes[i].from = -1
	}
	for at := 0; at < len(piece); {
		_, width := utf8.DecodeRune(piece[at:])
		here := nodes[at].score
		single := false
		reach := func(n int, id uint32, score float64) {
			if to := &nodes[at+n]; to.from < 0 || here+score > to.score {
				*to = unigramNode{here + score, int32(at), id}
			}
		}
		s := 0
		for i, c := range piece[at:] {
			if s = m.trie.step(s, c); s == 0 {
				break
			}
			if id := m.trie.id[s]; id != noID {
				reach(i+1, id, m.scores[id])
				single = single || i+1 == width
			}
		}
		if !single {
			reach(width, m.unk, m.unkScore)
		}
		at += width
	}
	// Back from the end; neighbouring unknown characters are one token.
	start := len(dst)
	for end := len(piece); end > 0; {
		n := nodes[end]
		lo := int(n.from)
		if n.id == m.unk {
			for lo > 0 && nodes[lo].id == m.unk {
				lo = int(nodes[lo].from)
			}
		}
		dst = append(dst, token{n.id, lo, end})
		end = lo
	}
	for i, j := start, len(dst)-1; i < j; i, j = i+1, j-1 {
		dst[i], dst[j] = dst[j], dst[i]
	}
	return m.spell(dst, start, piece)
}

// spell looks the pieces up by text, as the reference does: a run of unknown characters may be a piece after all, or become bytes.
func (m *unigram) spell(toks []token, start int, piece []byte) []token {
	has := false
	for _, t := range toks[start:] {
		has = has || t.id == m.unk
	}
	if !has {
		return toks
	}
	in := append([]token(nil), toks[start:]...)
	out := toks[:start]
	for _, t := range in {
		if t.id != m.unk {
			out = append(out, t)
			continue
		}
		s := piece[t.lo:t.hi]
		if id, ok := m.vocab.find(s); ok && !m.plainUnk {
			out = append(out, token{id, t.lo, t.hi})
			continue
		}
		if m.byteFallback && m.spelled(s) {
			for _, c := range s {
				out = append(out, token{m.byteID[c], t.lo, t.hi})
			}
			continue
		}
		out = append(out, t)
	}
	return out
}

func (m *unigram) spelled(s []byte) bool {
	for _, c := range s {
		if m.byteID[c] == noID {
			return false
		}
	}
	return true
}

// loadUnigram reads [["piece", score], …].
func (t *Tokenizer) loadUnigram(s *jsonScan, m *modelJSON) error {
	v := newVocab(1<<15, false)
	var scores []float64
	err := s.array(func() error {
		if err := s.need('['); err != nil {
			return err
		}
		b, err := s.str(nil)
		if err != nil {
			return err
		}
		if err := s.need(','); err != nil {
			return err
		}
		at := s.p
		raw, err := s.skip()
		if err != nil {
			return err
		}
		f, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			s.p = at
			return s.fail("a score")
		}
		if len(scores) >= maxVocab {
			return s.fail("fewer pieces")
		}
		if err := v.addString(string(b), uint32(len(scores))); err != nil {
			return fmt.Errorf("%w: JSON offset %d: %v", ErrFormat, at, err)
		}
		scores = append(scores, f)
		return s.need(']')
	})
	if err != nil {
		return fmt.Errorf("vocab: %w", err)
	}
	return t.setUnigram(v, scores, orDefault(m.UnkID, noID), m.ByteFallback)
}

func (t *Tokenizer) setUnigram(v *vocab, scores []float64, unk uint32, fallback bool) error {
	u := &unigram{vocab: v, scores: scores, unk: unk, byteFallback: fallback}
	if unk != noID && int(unk) >= len(scores) {
		return fmt.Errorf("%w: unk_id %d of %d pieces", ErrFormat, unk, len(scores))
	}
	if unk == noID { // the reference fails when it meets an unknown character; nothing rules that out
		return fmt.Errorf("%w: Unigram without unk_id", ErrUnsupported)
	}
	least := math.Inf(1)
	var entries []trieEntry
	for id, f := range scores {
		least = min(least, f)
		b := v.bytes(uint32(id))
		if len(b) == 0 {
			continue
		}
		entries = append(entries, trieEntry{string(b), uint32(id)})
	}
	u.unkScore = least - unkPenalty
	u.trie = newPieceTrie(entries)
	for i := range u.byteID {
		u.byteID[i] = noID
		if id, ok := v.find(fmt.Appendf(nil, "<0x%02X>", i)); ok {
			u.byteID[i] = id
		}
	}
	t.pieces, t.model = v, u
	return nil
}
