//go:build cgo

package main

// #include "krserve.h"
import "C"

import (
	"context"
	"unsafe"

	"github.com/krserve/krserve/tokenizer"
)

//export krgo_tokenizer_count_up_to
func krgo_tokenizer_count_up_to(h C.uintptr_t, text *C.char, n C.size_t, flags C.uint32_t, limit C.size_t, count *C.size_t, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_count_up_to", cerr, func() (status, error) {
		t, b, o, _, err := textOf(h, text, n, flags)
		if err != nil {
			return ok, err
		}
		most := int(min(uint64(limit), maxLen))
		got := 0
		if o.AddSpecial {
			o.AddSpecial = false
			ids, err := t.EncodeWith("", tokenizer.Options{AddSpecial: true})
			if err != nil {
				return ok, err
			}
			got = len(ids)
		}
		within := got <= most
		if within {
			var k int
			if o.Special == tokenizer.Recognise {
				k, within = t.CountUpTo(unsafe.String(unsafe.SliceData(b), len(b)), most-got)
			} else {
				ids, err := t.AppendEncodeWith(nil, b, o)
				if err != nil {
					return ok, err
				}
				k, within = len(ids), len(ids) <= most-got
			}
			got += k
		}
		if !within {
			got = most + 1
		}
		*count = C.size_t(got)
		return ok, nil
	})
}

// encodeParams turns a caller's kr_encode_params into options.
func encodeParams(p *C.kr_encode_params) (o tokenizer.Options, err error) {
	const more = C.KR_CHAR_OFFSETS | C.KR_TRUNCATE | C.KR_TRUNCATE_LEFT | C.KR_PAD | C.KR_PAD_LEFT
	if o, _, err = encodeOptions(p.flags &^ more); err != nil {
		return o, err
	}
	o.Offsets = tokenizer.ByteOffsets
	if p.flags&C.KR_CHAR_OFFSETS != 0 {
		o.Offsets = tokenizer.CharOffsets
	}
	if p.flags&C.KR_TRUNCATE != 0 {
		if p.strategy > C.KR_ONLY_SECOND {
			return o, invalid("strategy is %d", uint32(p.strategy))
		}
		o.Truncate = &tokenizer.Truncation{Max: int(p.max_tokens), Stride: int(p.stride), Left: p.flags&C.KR_TRUNCATE_LEFT != 0,
			Strategy: tokenizer.TruncateStrategy(p.strategy)}
	} else if p.flags&C.KR_TRUNCATE_LEFT != 0 || p.max_tokens != 0 || p.stride != 0 || p.strategy != 0 {
		return o, invalid("fields of truncation are set without KR_TRUNCATE")
	}
	if p.flags&C.KR_PAD != 0 {
		if p.pad_to > maxPad || p.pad_multiple_of > maxPad {
			return o, invalid("pad_to is %d, pad_multiple_of %d; %d is the limit", uint32(p.pad_to), uint32(p.pad_multiple_of), maxPad)
		}
		o.Pad = &tokenizer.Padding{To: int(p.pad_to), MultipleOf: int(p.pad_multiple_of), ID: uint32(p.pad_id), TypeID: uint32(p.pad_type),
			Left: p.flags&C.KR_PAD_LEFT != 0}
	} else if p.flags&C.KR_PAD_LEFT != 0 || p.pad_to != 0 || p.pad_multiple_of != 0 || p.pad_id != 0 || p.pad_type != 0 {
		return o, invalid("fields of padding are set without KR_PAD")
	}
	return o, nil
}

// maxPad bounds what one text is padded to: more is a mistake, and memory.
const maxPad = 1 << 24

// copyTexts copies n strings of a caller.
func copyTexts(p *C.kr_str, n C.size_t, what string) ([]string, error) {
	in, err := view[C.kr_str](p, n, what)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(in))
	for i, s := range in {
		if out[i], err = copyText(s, what+"["+itoa(i)+"]"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

//export krgo_tokenizer_encode_full
func krgo_tokenizer_encode_full(h C.uintptr_t, p *C.kr_encode_params, out *C.kr_encoding, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_encode_full", cerr, func() (status, error) {
		t, err := get[*vocabulary](&handles, handle(h), kindTokenizer)
		if err != nil {
			return ok, err
		}
		o, err := encodeParams(p)
		if err != nil {
			return ok, err
		}
		texts, err := copyTexts(p.texts, p.n_texts, "texts")
		if err != nil {
			return ok, err
		}
		var pairs []string
		if p.pairs != nil {
			if pairs, err = copyTexts(p.pairs, p.n_texts, "pairs"); err != nil {
				return ok, err
			}
		}
		all, err := t.EncodeFullBatch(context.Background(), texts, pairs, o)
		if err != nil {
			return ok, err
		}
		var parts []*tokenizer.Encoding
		var of []C.size_t
		for i, e := range all {
			parts = append(append(parts, e), e.Overflow...)
			for range 1 + len(e.Overflow) {
				of = append(of, C.size_t(i))
			}
		}
		return copyEncoding(out, parts, of)
	})
}

// copyEncoding fills the buffers of a kr_encoding, or says how large they must be.
func copyEncoding(out *C.kr_encoding, parts []*tokenizer.Encoding, of []C.size_t) (status, error) {
	starts := make([]C.size_t, len(parts)+1)
	for i, p := range parts {
		starts[i+1] = starts[i] + C.size_t(len(p.IDs))
	}
	n := starts[len(parts)]
	out.n, out.n_parts = n, C.size_t(len(parts))
	filled := out.ids != nil || out.types != nil || out.begins != nil || out.ends != nil || out.words != nil || out.marks != nil
	numbered := out.parts != nil || out.part_texts != nil
	switch {
	case out.cap > 0 && !filled:
		return ok, invalid("every buffer is NULL with cap %d", uint64(out.cap))
	case out.parts_cap > 0 && !numbered:
		return ok, invalid("parts and part_texts are NULL with parts_cap %d", uint64(out.parts_cap))
	case n > out.cap && (filled || !numbered):
		return ok, &callError{errBuffer, sizeText(int(n), uint64(out.cap))}
	case numbered && C.size_t(len(starts)) > out.parts_cap:
		return ok, &callError{errBuffer, "parts: " + sizeText(len(starts), uint64(out.parts_cap))}
	}
	put(out.parts, 0, starts)
	put(out.part_texts, 0, of)
	for i, p := range parts {
		at := int(starts[i])
		put(out.ids, at, p.IDs)
		put(out.types, at, p.TypeIDs)
		put(out.words, at, p.Words)
		begins, ends, marks := make([]uint32, len(p.IDs)), make([]uint32, len(p.IDs)), make([]uint8, len(p.IDs))
		for k, s := range p.Offsets {
			begins[k], ends[k] = uint32(s.Start), uint32(s.End)
			if p.Special[k] {
				marks[k] |= C.KR_TOKEN_SPECIAL
			}
			if !p.Attention[k] {
				marks[k] |= C.KR_TOKEN_PADDING
			}
		}
		put(out.begins, at, begins)
		put(out.ends, at, ends)
		put(out.marks, at, marks)
	}
	return ok, nil
}

// put copies src to element `at` of a caller's buffer, if there is one.
func put[T, C any](dst *C, at int, src []T) {
	if dst != nil && len(src) > 0 {
		copy(unsafe.Slice((*T)(unsafe.Pointer(dst)), at+len(src))[at:], src)
	}
}

//export krgo_tokenizer_stats
func krgo_tokenizer_stats(h C.uintptr_t, reset C.int32_t, out *C.kr_tokenizer_counters, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_stats", cerr, func() (status, error) {
		t, err := get[*vocabulary](&handles, handle(h), kindTokenizer)
		if err != nil {
			return ok, err
		}
		if reset != 0 && reset != 1 {
			return ok, invalid("reset is %d", int(reset))
		}
		s := t.Stats()
		out.encodes, out.bytes, out.tokens = C.uint64_t(s.Encodes), C.uint64_t(s.Bytes), C.uint64_t(s.Tokens)
		out.seconds = C.double(s.Time.Seconds())
		out.cache_hits, out.cache_misses = C.uint64_t(s.CacheHits), C.uint64_t(s.CacheMisses)
		if reset == 1 {
			t.ResetStats()
		}
		return ok, nil
	})
}
