package tokenizer

import (
	"fmt"
	"unicode/utf8"
)

// wordLevel takes every piece as one token.
type wordLevel struct {
	vocab *vocab
	unk   uint32
}

func (m *wordLevel) appendIDs(dst []uint32, piece []byte) []uint32 {
	if id, ok := m.vocab.find(piece); ok {
		return append(dst, id)
	}
	return append(dst, m.unk)
}

func (m *wordLevel) appendTokens(dst []token, piece []byte) []token {
	return append(dst, token{m.appendIDs(nil, piece)[0], 0, len(piece)})
}

// wordPiece takes the longest piece at each place (greedy longest match first); a word that cannot be covered is unk.
type wordPiece struct {
	vocab    *vocab
	unk      uint32
	maxChars int
	first    *pieceTrie // pieces at the start of a word
	rest     *pieceTrie // pieces behind it, the prefix taken off
}

func (m *wordPiece) appendIDs(dst []uint32, piece []byte) []uint32 {
	var buf [32]token
	for _, t := range m.appendTokens(buf[:0], piece) {
		dst = append(dst, t.id)
	}
	return dst
}

func (m *wordPiece) appendTokens(dst []token, piece []byte) []token {
	start := len(dst)
	if utf8.RuneCount(piece) > m.maxChars {
		return append(dst, token{m.unk, 0, len(piece)})
	}
	trie := m.first
	for i := 0; i < len(piece); trie = m.rest {
		id, n := trie.longest(piece[i:])
		if n == 0 {
			return append(dst[:start], token{m.unk, 0, len(piece)})
		}
		dst = append(dst, token{id, i, i + n})
		i += n
	}
	return dst
}

// loadWords installs a WordPiece or WordLevel model.
func (t *Tokenizer) loadWords(kind string, v *vocab, m *modelJSON) error {
	name := "[UNK]"
	if kind == "WordLevel" {
		name = "<unk>"
	}
	name = orDefault(m.UnkToken, name)
	unk, ok := v.tokenID(name)
	if !ok { // the reference fails when it meets an unknown word
		return fmt.Errorf("%w: unk_token %q is not in the vocabulary", ErrFormat, name)
	}
	t.pieces = v
	if kind == "WordLevel" {
		t.model = &wordLevel{v, unk}
		return nil
	}
	w := &wordPiece{vocab: v, unk: unk, maxChars: orDefault(m.MaxChars, 100)}
	prefix := orDefault(m.Prefix, "##")
	var first, rest []trieEntry
	for id := range uint32(v.size()) {
		b := v.bytes(id)
		if len(b) == 0 {
			continue
		}
		if got, _ := v.find(b); got != id {
			continue
		}
		first = append(first, trieEntry{string(b), id})
		if len(b) > len(prefix) && string(b[:len(prefix)]) == prefix {
			rest = append(rest, trieEntry{string(b[len(prefix):]), id})
		}
	}
	w.first, w.rest = newPieceTrie(first), newPieceTrie(rest)
	t.model = w
	return nil
}
