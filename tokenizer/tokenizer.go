// Package tokenizer turns text into token ids and back, exactly as the model's own tokenizer does.
//
// A Tokenizer is read from a tokenizer.json, a GGUF file, a .tiktoken file or a SentencePiece .model. It is immutable and safe for
// concurrent use. The reference is Hugging Face tokenizers 0.23.3, to which every stage keeps: added tokens, normalizer, pre-tokenizer,
// model, post-processor, decoder.
package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/krserve/krserve/internal/gguf"
)

// Tokenizer is immutable and safe for concurrent use.
type Tokenizer struct {
	cfg  Config
	norm normalizer
	pre  preTokenizer
	dec  *decoderSpec
	made *stages // what norm, pre and dec are made of, where it is to be compiled; else nil
	post *postProcessor

	model    model
	pieces   pieceTable
	bpe      *bpeText  // set for BPE models
	raw      bool      // the model works on raw bytes
	position bool      // a pre-tokenizer asks where its text begins
	fast     *fastPath // nil = not recognised

	addedID   map[string]uint32
	addedByID map[uint32]addedToken
	specials  map[string]bool
	before    *addedMatcher // tokens found in the raw text
	after     *addedMatcher // tokens found in the normalised text

	size     int
	decoded  decodeTable
	special  specialIDs
	template *Template // nil = none
	stats    counters
}

// stages are the JSON of a normalizer, a pre-tokenizer and a decoder, as a tokenizer.json has them; nil is none.
type stages struct{ norm, pre, dec json.RawMessage }

// stage sets the normalizer, the pre-tokenizer and the decoder.
func (t *Tokenizer) stage(s stages) (err error) {
	if t.norm, err = buildNormalizer(s.norm); err != nil {
		return fmt.Errorf("normalizer: %w", err)
	}
	if t.pre, err = buildPreTokenizer(s.pre); err != nil {
		return fmt.Errorf("pre_tokenizer: %w", err)
	}
	if t.dec, err = buildDecoder(s.dec); err != nil {
		return fmt.Errorf("decoder: %w", err)
	}
	if t.cfg.CacheDir != "" {
		t.made = &stages{slices.Clone(s.norm), slices.Clone(s.pre), slices.Clone(s.dec)}
	}
	return nil
}

// pieceTable looks pieces of the model up as its file spells them.
type pieceTable interface {
	tokenID(piece string) (uint32, bool)
	piece(id uint32) (string, bool)
	size() int
	used() int
}

// Open reads a tokenizer from a file: a tokenizer.json, a directory with one, a GGUF file, a .tiktoken file or a SentencePiece .model.
func Open(path string) (*Tokenizer, error) { return OpenConfig(path, Config{}) }

// OpenConfig is Open with settings.
func OpenConfig(path string, cfg Config) (*Tokenizer, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, "tokenizer.json")
	}
	t, err := openFile(path, cfg)
	if err != nil {
		return nil, fmt.Errorf("tokenizer %s: %w", path, err)
	}
	return t, nil
}

func openFile(path string, cfg Config) (*Tokenizer, error) {
	src, err := openSource(path, cfg)
	if err != nil {
		return nil, err
	}
	defer src.close()
	if t := src.compiled(); t != nil {
		return t, nil
	}
	if isGGUF(path) { // mapped: only the vocabulary is read
		f, err := gguf.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		t, err := fromGGUF(f, cfg)
		if err == nil {
			src.keep(t, f.Header())
		}
		return t, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := ParseConfig(data, cfg)
	if err == nil && src.side != nil {
		err = t.takeSiblings(src.side)
	}
	if err == nil {
		src.keep(t, data)
	}
	return t, err
}

func isGGUF(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && string(magic[:]) == "GGUF"
}

// Parse reads a tokenizer from the bytes of a file of any kind that Open reads. The Tokenizer keeps no reference to data.
func Parse(data []byte) (*Tokenizer, error) { return ParseConfig(data, Config{}) }

// ParseConfig is Parse with settings.
func ParseConfig(data []byte, cfg Config) (*Tokenizer, error) {
	switch k := sniff(data); k {
	case kindJSON:
		return parseJSON(data, cfg)
	case kindGGUF:
		f, err := gguf.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		defer f.Close()
		return fromGGUF(f, cfg)
	case kindTiktoken:
		return parseTiktoken(data, cfg)
	case kindSPM:
		return fromSPM(data, cfg)
	default:
		return nil, fmt.Errorf("%w: neither tokenizer.json, GGUF, .tiktoken nor SentencePiece", ErrFormat)
	}
}

type fileKind int

const (
	kindUnknown fileKind = iota
	kindJSON
	kindGGUF
	kindTiktoken
	kindSPM
)

func sniff(data []byte) fileKind {
	if bytes.HasPrefix(data, []byte("GGUF")) {
		return kindGGUF
	}
	s := jsonScan{b: data}
	if s.eat('{') {
		return kindJSON
	}
	if isTiktoken(data) {
		return kindTiktoken
	}
	if len(data) > 2 && data[0] == spmPieces<<3|2 { // a length-delimited field 1
		return kindSPM
	}
	return kindUnknown
}

func newTokenizer(cfg Config) *Tokenizer {
	return &Tokenizer{cfg: cfg, addedID: map[string]uint32{}, addedByID: map[uint32]addedToken{}, specials: map[string]bool{}}
}

// endsInByteLevel reports that the last thing before the model spells the text in the byte-level alphabet.
func (t *Tokenizer) endsInByteLevel() bool {
	b := t.lastByteLevel()
	return b != nil
}

func (t *Tokenizer) lastByteLevel() *preByteLevel {
	p := t.pre
	if s, ok := p.(preSequence); ok && len(s) > 0 {
		p = s[len(s)-1]
	}
	b, _ := p.(*preByteLevel)
	return b
}

// setBPE installs a BPE model; raw says that it works on raw bytes instead of the alphabet.
func (t *Tokenizer) setBPE(m *bpeText, raw bool) { t.setMerger(m, newMerger(m.bpeModel), raw) }

func (t *Tokenizer) setMerger(m *bpeText, engine *merger, raw bool) {
	t.bpe, t.pieces, t.raw = m, m.vocab, raw
	if b := t.lastByteLevel(); b != nil {
		b.raw = raw
	}
	t.model = &hfBPE{bpeText: m, engine: engine}
}

// finish derives what follows from all parts.
func (t *Tokenizer) finish() error {
	var before, after []addedToken
	for _, id := range slices.Sorted(maps.Keys(t.addedByID)) {
		if a := t.addedByID[id]; a.normalized {
			after = append(after, a)
		} else {
			before = append(before, a)
		}
	}
	t.before = newAddedMatcher(before, func(a *addedToken) string { return a.content })
	t.after = newAddedMatcher(after, func(a *addedToken) string { return a.text })
	t.settle()
	t.fast = t.newFastPath(nil)
	t.findSpecials()
	return nil
}

// settle derives what takes no time to derive.
func (t *Tokenizer) settle() {
	t.size = t.pieces.size()
	for id := range t.addedByID {
		t.size = max(t.size, int(id)+1)
	}
	t.position = t.needsPosition()
}

// Size is one more than the largest id.
func (t *Tokenizer) Size() int { return t.size }

// TokenID gives the id of a token spelled as the file spells it: "Ġthe" in a byte-level vocabulary, "▁the" in SentencePiece's.
func (t *Tokenizer) TokenID(piece string) (uint32, bool) {
	if id, ok := t.addedID[piece]; ok {
		return id, true
	}
	return t.pieces.tokenID(piece)
}

// Piece spells a token as the file does; "" for an id that is not in use.
func (t *Tokenizer) Piece(id uint32) string {
	if a, ok := t.addedByID[id]; ok {
		return a.text
	}
	s, _ := t.pieces.piece(id)
	return s
}

// IsSpecial reports that an id is a special token, which decoding can leave out.
func (t *Tokenizer) IsSpecial(id uint32) bool { return t.specials[t.Piece(id)] }
