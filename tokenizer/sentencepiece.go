package tokenizer

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of sentencepiece_model.proto.
const (
	spmPieces, spmTrainer, spmNormalizer = 1, 2, 3

	spmPieceText, spmPieceScore, spmPieceType = 1, 2, 3

	spmModelType, spmByteFallback, spmTreatAsSuffix  = 3, 35, 24
	spmUnkID, spmBosID, spmEosID                     = 40, 41, 42
	spmCharsmap, spmDummyPrefix, spmExtraWhitespaces = 2, 3, 4
	spmEscape                                        = 5
	spmUnkSurface                                    = 44
)

// Types of a piece.
const (
	spmNormal, spmUnknown, spmControl, spmUserDefined, spmUnused, spmByte = 1, 2, 3, 4, 5, 6
)

// spmModel is a SentencePiece model file.
type spmModel struct {
	pieces       []spmPiece
	kind         uint64 // 1 Unigram, 2 BPE, 3 word, 4 char
	byteFallback bool
	suffix       bool
	unk, bos, ed int32
	charsmap     []byte
	dummyPrefix  bool
	extraSpaces  bool // remove_extra_whitespaces
	escape       bool
	surface      string // of an unknown piece
}

type spmPiece struct {
	text  string
	score float32
	kind  uint64
}

// fields calls f for every field of a message; offsets are those of the file.
func protoFields(b []byte, off int, f func(num protowire.Number, typ protowire.Type, v []byte, off int) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: SentencePiece offset %d: %v", ErrFormat, off, protowire.ParseError(n))
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return fmt.Errorf("%w: SentencePiece offset %d: %v", ErrFormat, off, protowire.ParseError(m))
		}
		v := b[n : n+m]
		at := off + n
		if typ == protowire.BytesType {
			inner, k := protowire.ConsumeBytes(v)
			at += k - len(inner)
			v = inner
		}
		if err := f(num, typ, v, at); err != nil {
			return err
		}
		b = b[n+m:]
		off += n + m
	}
	return nil
}

func protoInt(v []byte) uint64 {
	n, _ := protowire.ConsumeVarint(v)
	return n
}

func parseSPM(data []byte) (*spmModel, error) {
	m := &spmModel{kind: 1, unk: 0, bos: 1, ed: 2, dummyPrefix: true, extraSpaces: true, escape: true, surface: " ⁇ "}
	err := protoFields(data, 0, func(num protowire.Number, typ protowire.Type, v []byte, off int) error {
		if typ != protowire.BytesType {
			return nil
		}
		switch num {
		case spmPieces:
			p := spmPiece{kind: spmNormal}
			err := protoFields(v, off, func(num protowire.Number, typ protowire.Type, v []byte, off int) error {
				switch {
				case num == spmPieceText && typ == protowire.BytesType:
					p.text = string(v)
				case num == spmPieceScore && typ == protowire.Fixed32Type:
					bits, _ := protowire.ConsumeFixed32(v)
					p.score = math.Float32frombits(bits)
				case num == spmPieceType && typ == protowire.VarintType:
					p.kind = protoInt(v)
				}
				return nil
			})
			if math.IsNaN(float64(p.score)) {
				return fmt.Errorf("%w: SentencePiece offset %d: score is not a number", ErrFormat, off)
			}
			m.pieces = append(m.pieces, p)
			return err
		case spmTrainer:
			return protoFields(v, off, func(num protowire.Number, typ protowire.Type, v []byte, _ int) error {
				if num == spmUnkSurface && typ == protowire.BytesType {
					m.surface = string(v)
				}
				if typ != protowire.VarintType {
					return nil
				}
				n := protoInt(v)
				switch num {
				case spmModelType:
					m.kind = n
				case spmByteFallback:
					m.byteFallback = n != 0
				case spmTreatAsSuffix:
					m.suffix = n != 0
				case spmUnkID:
					m.unk = int32(n)
				case spmBosID:
					m.bos = int32(n)
				case spmEosID:
					m.ed = int32(n)
				}
				return nil
			})
		case spmNormalizer:
			return protoFields(v, off, func(num protowire.Number, typ protowire.Type, v []byte, _ int) error {
				switch {
				case num == spmCharsmap && typ == protowire.BytesType:
					m.charsmap = v
				case num == spmDummyPrefix && typ == protowire.VarintType:
					m.dummyPrefix = protoInt(v) != 0
				case num == spmExtraWhitespaces && typ == protowire.VarintType:
					m.extraSpaces = protoInt(v) != 0
				case num == spmEscape && typ == protowire.VarintType:
					m.escape = protoInt(v) != 0
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(m.pieces) == 0 || len(m.pieces) >= maxVocab {
		return nil, fmt.Errorf("%w: SentencePiece model of %d pieces", ErrFormat, len(m.pieces))
	}
	return m, nil
}

// fromSPM makes the tokenizer of a SentencePiece model.
func fromSPM(data []byte, cfg Config) (*Tokenizer, error) {
	m, err := parseSPM(data)
	if err != nil {
		return nil, err
	}
	switch {
	case m.kind != 1 && m.kind != 2:
		return nil, fmt.Errorf("%w: SentencePiece model type %d (neither Unigram nor BPE)", ErrUnsupported, m.kind)
	case m.suffix:
		return nil, fmt.Errorf("%w: SentencePiece treat_whitespace_as_suffix", ErrUnsupported)
	case !m.escape:
		return nil, fmt.Errorf("%w: SentencePiece escape_whitespaces=false", ErrUnsupported)
	}
	t := newTokenizer(cfg)
	v := newVocab(len(m.pieces), false)
	scores := make([]float32, len(m.pieces))
	unk := noID
	for i, p := range m.pieces {
		if err := v.addString(p.text, uint32(i)); err != nil {
			return nil, fmt.Errorf("%w: %v", ErrFormat, err)
		}
		scores[i] = p.score
		if p.kind == spmUnknown {
			unk = uint32(i)
		}
	}
	if unk == noID {
		return nil, fmt.Errorf("%w: SentencePiece model without an unknown piece", ErrFormat)
	}
	norm := &normSPM{prefix: m.dummyPrefix, squeeze: m.extraSpaces}
	if len(m.charsmap) > 0 {
		n, err := parseCharsmap(m.charsmap)
		if err != nil {
			return nil, err
		}
		norm.charsmap = n.(*normCharsmap)
	}
	for i, p := range m.pieces {
		if p.kind == spmUserDefined {
			norm.user = append(norm.user, addedToken{content: p.text, id: uint32(i)})
		}
	}
	norm.matcher = newAddedMatcher(norm.user, func(a *addedToken) string { return a.content })
	skip := func(id uint32) bool {
		k := m.pieces[id].kind
		return k == spmControl || k == spmUnknown || k == spmByte
	}
	if m.kind == 2 {
		for _, p := range m.pieces {
			if p.kind == spmUnused {
				return nil, fmt.Errorf("%w: SentencePiece BPE with the unused piece %q", ErrUnsupported, p.text)
			}
		}
		b := &bpeText{bpeModel: &bpeModel{vocab: v, unk: unk, fuseUnk: true, byteFallback: m.byteFallback}}
		b.mergesByScore(scores, skip)
		b.freeze(norm.matcher)
		b.finish()
		t.setBPE(b, false)
	} else if err := m.unigram(t, v, unk, skip); err != nil {
		return nil, err
	}
	t.norm = norm
	t.dec = m.decoder()
	for i, p := range m.pieces {
		if p.kind == spmControl {
			t.addToken(addedToken{content: p.text, id: uint32(i), special: true})
		}
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	if m.bos >= 0 && int(m.bos) < len(m.pieces) {
		t.special.bos = uint32(m.bos)
	}
	if m.ed >= 0 && int(m.ed) < len(m.pieces) {
		t.setEOS(uint32(m.ed))
	}
	return t, nil
}

// spmDecode is SentencePieceProcessor's Decode: "▁" is a space but for the first one where the normaliser adds or strips it, an unknown
// piece has a text of its own, bytes that are no character become U+FFFD one by one.
type spmDecode struct {
	unk, surface string
	bytes        bool
	strip, all   bool // take the first "▁" off; all of them, not just one
	run          []byte
	begun, seen  bool // text was written; a "▁" was taken off
}

func (d *spmDecode) push(s string, out func(string)) {
	if c, ok := bytePiece(s); ok && d.bytes {
		d.run = append(d.run, c)
		return
	}
	d.flush(out)
	first := !d.seen && !d.begun
	d.seen = false
	if s == d.unk {
		s = d.surface
	} else {
		if first && d.strip {
			if r, ok := strings.CutPrefix(s, "▁"); ok {
				s, d.seen = r, !d.all
			}
		}
		s = strings.ReplaceAll(s, "▁", " ")
	}
	if s != "" {
		d.begun = true
		out(s)
	}
}

func (d *spmDecode) flush(out func(string)) {
	if len(d.run) == 0 {
		return
	}
	for i := 0; i < len(d.run); {
		r, n := utf8.DecodeRune(d.run[i:])
		out(string(r)) // U+FFFD for a byte that begins no character
		i += n
	}
	d.run = d.run[:0]
	d.begun = true
}

func (m *spmModel) decoder() *decoderSpec {
	unk := ""
	for _, p := range m.pieces {
		if p.kind == spmUnknown {
			unk = p.text
		}
	}
	return &decoderSpec{steps: []func() decodeStep{func() decodeStep {
		return &spmDecode{unk: unk, surface: m.surface, bytes: m.byteFallback, strip: m.dummyPrefix || m.extraSpaces,
			all: m.extraSpaces}
	}}}
}
