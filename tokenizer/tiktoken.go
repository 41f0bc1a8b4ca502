package tokenizer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
)

// tiktokenKind is what a .tiktoken file, which has ranks alone, leaves unsaid.
type tiktokenKind struct {
	pattern  string
	specials map[string]uint32
}

// Patterns of OpenAI's encodings, with the possessive marks of the originals.
const (
	patCL100K = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// tiktokenBySize tells OpenAI's encodings apart by their number of ranks.
var tiktokenBySize = map[int]tiktokenKind{
	50256: {gpt2Pattern, map[string]uint32{"<|endoftext|>": 50256}},
	50280: {gpt2Pattern, map[string]uint32{"<|endoftext|>": 50256}},
	100256: {patCL100K, map[string]uint32{"<|endoftext|>": 100257, "<|fim_prefix|>": 100258, "<|fim_middle|>": 100259,
		"<|fim_suffix|>": 100260, "<|endofprompt|>": 100276}},
	199998: {patGPT4o, map[string]uint32{"<|endoftext|>": 199999, "<|endofprompt|>": 200018}},
}

// TiktokenOptions says what a .tiktoken file leaves unsaid.
type TiktokenOptions struct {
	Pattern  string            // of the pre-tokenizer; every match is a piece
	Specials map[string]uint32 // special tokens and their ids
}

// parseTiktoken reads a .tiktoken file of one of OpenAI's encodings, known by its number of ranks.
func parseTiktoken(data []byte, cfg Config) (*Tokenizer, error) {
	v, err := readRanks(data)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, p := range v.places {
		if p != 0 {
			n++
		}
	}
	k, ok := tiktokenBySize[n]
	if !ok {
		return nil, fmt.Errorf("%w: .tiktoken file of %d ranks: its pattern and special tokens are not known; use ParseTiktoken", ErrUnsupported, n)
	}
	return tiktokenFrom(v, TiktokenOptions{k.pattern, k.specials}, cfg)
}

// ParseTiktoken reads a .tiktoken file: lines of a base64 piece and its rank, which is its id.
func ParseTiktoken(data []byte, o TiktokenOptions) (*Tokenizer, error) {
	v, err := readRanks(data)
	if err != nil {
		return nil, err
	}
	return tiktokenFrom(v, o, Config{})
}

func readRanks(data []byte) (*vocab, error) {
	v := newVocab(bytes.Count(data, []byte{'\n'})+1, true)
	for off := 0; off < len(data); {
		line := data[off:]
		if k := bytes.IndexByte(line, '\n'); k >= 0 {
			line = line[:k]
		}
		at := off
		off += len(line) + 1
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 {
			continue
		}
		text, num, ok := bytes.Cut(line, []byte{' '})
		rank, err := strconv.ParseUint(string(num), 10, 32)
		if !ok || err != nil || rank >= maxVocab || rank > 64*uint64(len(data)) {
			return nil, fmt.Errorf("%w: .tiktoken offset %d: want a base64 piece and a rank", ErrFormat, at)
		}
		start := len(v.arena)
		piece, err := base64.StdEncoding.AppendDecode(v.arena, text)
		if err != nil || len(piece) == start {
			return nil, fmt.Errorf("%w: .tiktoken offset %d: not base64", ErrFormat, at)
		}
		v.arena = piece
		if err := v.add(start, uint32(rank)); err != nil {
			return nil, fmt.Errorf("%w: .tiktoken offset %d: %v", ErrFormat, at, err)
		}
	}
	if v.count == 0 {
		return nil, fmt.Errorf("%w: no ranks", ErrFormat)
	}
	return v, nil
}

func tiktokenFrom(v *vocab, o TiktokenOptions, cfg Config) (*Tokenizer, error) {
	t := newTokenizer(cfg)
	p := preType{splits: []string{o.Pattern}}
	if err := p.install(t); err != nil {
		return nil, err
	}
	b := &bpeText{bpeModel: &bpeModel{vocab: v, unk: noID, byteLevel: true, ignoreMerges: true}}
	// Any two neighbours whose text has a rank join, the least rank first.
	for id := range uint32(v.size()) {
		piece := v.bytes(id)
		if got, ok := v.find(piece); !ok || got != id {
			continue
		}
		for k := 1; k < len(piece); k++ {
			left, ok := v.find(piece[:k])
			if !ok {
				continue
			}
			if right, ok := v.find(piece[k:]); ok {
				b.merges = append(b.merges, mergeRule{left, right, id, id})
			}
		}
	}
	b.finish()
	for c, id := range b.byteID {
		if id == noID {
			return nil, fmt.Errorf("%w: no rank for byte %#02x", ErrFormat, c)
		}
	}
	t.setBPE(b, true)
	for name, id := range o.Specials {
		if id >= maxVocab {
			return nil, fmt.Errorf("%w: id %d of special token %q", ErrFormat, id, name)
		}
		t.addToken(addedToken{content: name, id: id, special: true})
	}
	return t, t.finish()
}

// isTiktoken reports that data begins with a line of a .tiktoken file.
func isTiktoken(data []byte) bool {
	line, _, _ := bytes.Cut(data[:min(len(data), 4096)], []byte{'\n'})
	text, num, ok := bytes.Cut(bytes.TrimRight(line, "\r"), []byte{' '})
	if !ok || !json.Valid(num) {
		return false
	}
	_, err := base64.StdEncoding.DecodeString(string(text))
	return err == nil && len(text) > 0
}
