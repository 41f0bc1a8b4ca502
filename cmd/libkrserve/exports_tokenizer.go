//go:build cgo

package main

// #include "krserve.h"
import "C"

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/krserve/krserve/tokenizer"
)

// scratch keeps id buffers between calls.
var scratch = sync.Pool{New: func() any { return new([]uint32) }}

//export krgo_tokenizer_open
func krgo_tokenizer_open(path *C.char, n C.size_t, out *C.uintptr_t, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_open", cerr, func() (status, error) { return openTokenizer(C.kr_str{path, n}, out, tokenizer.Config{}) })
}

//export krgo_tokenizer_open_bytes
func krgo_tokenizer_open_bytes(data unsafe.Pointer, n C.size_t, out *C.uintptr_t, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_open_bytes", cerr, func() (status, error) { return parseTokenizer(data, n, out, tokenizer.Config{}) })
}

//export krgo_tokenizer_open_params
func krgo_tokenizer_open_params(p *C.kr_tokenizer_params, out *C.uintptr_t, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_open_params", cerr, func() (status, error) {
		if p.threads < 0 {
			return ok, invalid("threads = %d: want 0 or more", int(p.threads))
		}
		if p.min_parallel_bytes < 0 {
			return ok, invalid("min_parallel_bytes = %d: want 0 or more", int64(p.min_parallel_bytes))
		}
		cfg := tokenizer.Config{Threads: int(p.threads), CacheBytes: int64(p.cache_bytes), MinParallelBytes: int(p.min_parallel_bytes)}
		var err error
		if cfg.CacheDir, err = name(p.prepared_dir, "prepared_dir"); err != nil {
			return ok, err
		}
		switch {
		case p.path.data != nil && p.data != nil:
			return ok, invalid("path and data exclude each other")
		case p.data != nil:
			return parseTokenizer(p.data, p.len, out, cfg)
		}
		return openTokenizer(p.path, out, cfg)
	})
}

func openTokenizer(path C.kr_str, out *C.uintptr_t, cfg tokenizer.Config) (status, error) {
	p, err := name(path, "path")
	if err != nil {
		return ok, err
	}
	if p == "" {
		return ok, invalid("path is empty")
	}
	t, err := tokenizer.OpenConfig(p, cfg)
	if err != nil {
		return ok, err
	}
	return give(out, kindTokenizer, newVocabulary(t))
}

func parseTokenizer(data unsafe.Pointer, n C.size_t, out *C.uintptr_t, cfg tokenizer.Config) (status, error) {
	b, err := view[byte]((*C.char)(data), n, "data")
	if err != nil {
		return ok, err
	}
	t, err := tokenizer.ParseConfig(append([]byte(nil), b...), cfg) // a tokenizer may keep parts of what it parsed
	if err != nil {
		return ok, err
	}
	return give(out, kindTokenizer, newVocabulary(t))
}

// give hands a new handle of v to the caller.
func give(out *C.uintptr_t, k kind, v any) (status, error) {
	h, err := handles.put(k, v)
	*out = C.uintptr_t(h)
	return ok, err
}

//export krgo_tokenizer_close
func krgo_tokenizer_close(t C.uintptr_t) C.kr_status {
	return call("kr_tokenizer_close", nil, func() (status, error) {
		_, err := handles.take(handle(t), kindTokenizer)
		return ok, err
	})
}

// encodeOptions turns flags into options; plain is true for the defaults, which cannot fail.
func encodeOptions(flags C.uint32_t) (o tokenizer.Options, plain bool, err error) {
	if flags&^(C.KR_ADD_SPECIAL|C.KR_SPECIAL_TEXT|C.KR_SPECIAL_REFUSE) != 0 {
		return o, false, invalid("flags %#x are not those of an encode call", uint32(flags))
	}
	o.AddSpecial = flags&C.KR_ADD_SPECIAL != 0
	switch flags & (C.KR_SPECIAL_TEXT | C.KR_SPECIAL_REFUSE) {
	case 0:
		o.Special = tokenizer.Recognise
	case C.KR_SPECIAL_TEXT:
		o.Special = tokenizer.AsText
	case C.KR_SPECIAL_REFUSE:
		o.Special = tokenizer.Refuse
	default:
		return o, false, invalid("KR_SPECIAL_TEXT and KR_SPECIAL_REFUSE exclude each other")
	}
	return o, flags == 0, nil
}

// appendIDs encodes text behind dst.
func appendIDs(dst []uint32, t *vocabulary, text []byte, o tokenizer.Options, plain bool) ([]uint32, error) {
	if plain {
		return t.AppendEncode(dst, text), nil
	}
	ids, err := t.EncodeWith(string(text), o)
	return append(dst, ids...), err
}

//export krgo_tokenizer_encode
func krgo_tokenizer_encode(h C.uintptr_t, text *C.char, n C.size_t, flags C.uint32_t, ids *C.uint32_t, count *C.size_t, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_encode", cerr, func() (status, error) {
		return encode(h, text, n, flags, cerr, func(got []uint32) (status, error) { return copyOut(ids, count, got) })
	})
}

//export krgo_tokenizer_count
func krgo_tokenizer_count(h C.uintptr_t, text *C.char, n C.size_t, flags C.uint32_t, count *C.size_t, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_count", cerr, func() (status, error) {
		return encode(h, text, n, flags, cerr, func(got []uint32) (status, error) {
			*count = C.size_t(len(got))
			return ok, nil
		})
	})
}

// textOf finds a tokenizer, borrows a text and reads the flags of a call that encodes it.
func textOf(h C.uintptr_t, text *C.char, n C.size_t, flags C.uint32_t) (t *vocabulary, b []byte, o tokenizer.Options, plain bool, err error) {
	if t, err = get[*vocabulary](&handles, handle(h), kindTokenizer); err != nil {
		return
	}
	if b, err = view[byte](text, n, "text"); err != nil {
		return
	}
	o, plain, err = encodeOptions(flags)
	return
}

// encode runs use on the ids of a caller's text.
func encode(h C.uintptr_t, text *C.char, n C.size_t, flags C.uint32_t, cerr *C.kr_error, use func([]uint32) (status, error)) (status, error) {
	t, b, o, plain, err := textOf(h, text, n, flags)
	if err != nil {
		return ok, err
	}
	buf := scratch.Get().(*[]uint32)
	defer scratch.Put(buf)
	*buf, err = appendIDs((*buf)[:0], t, b, o, plain)
	if err != nil {
		return ok, err
	}
	return use(*buf)
}

//export krgo_tokenizer_encode_batch
func krgo_tokenizer_encode_batch(h C.uintptr_t, texts *C.kr_str, nTexts C.size_t, flags C.uint32_t, threads C.int32_t, ids *C.uint32_t, count, offsets *C.size_t, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_encode_batch", cerr, func() (status, error) {
		t, err := get[*vocabulary](&handles, handle(h), kindTokenizer)
		if err != nil {
			return ok, err
		}
		in, err := view[C.kr_str](texts, nTexts, "texts")
		if err != nil {
			return ok, err
		}
		o, plain, err := encodeOptions(flags)
		if err != nil {
			return ok, err
		}
		if threads < 0 {
			return ok, invalid("threads is %d", int(threads))
		}
		parts, err := encodeAll(t, in, o, plain, int(threads))
		if err != nil {
			return ok, err
		}
		off := unsafe.Slice(offsets, len(in)+1)
		total := 0
		for i, p := range parts {
			off[i] = C.size_t(total)
			total += len(p)
		}
		off[len(in)] = C.size_t(total)
		capacity := uint64(*count)
		*count = C.size_t(total)
		switch {
		case uint64(total) > capacity:
			return ok, &callError{errBuffer, sizeText(total, capacity)}
		case total == 0:
			return ok, nil
		case ids == nil:
			return ok, invalid("ids is NULL with capacity %d", capacity)
		}
		dst := unsafe.Slice((*uint32)(unsafe.Pointer(ids)), total)
		for i, p := range parts {
			copy(dst[off[i]:], p)
		}
		return ok, nil
	})
}

// encodeAll encodes every text, on as many goroutines as asked for.
func encodeAll(t *vocabulary, in []C.kr_str, o tokenizer.Options, plain bool, threads int) ([][]uint32, error) {
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	var (
		parts = make([][]uint32, len(in))
		errs  = make([]error, len(in))
		next  atomic.Int64
		wg    sync.WaitGroup
	)
	for range min(threads, len(in)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(in) {
					return
				}
				errs[i] = safely(func() error {
					if onEnter != nil {
						onEnter("batch")
					}
					b, err := view[byte](in[i].data, in[i].len, "text")
					if err != nil {
						return err
					}
					parts[i], err = appendIDs(nil, t, b, o, plain)
					return err
				})
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, &callError{statusOf(err), "text " + itoa(i) + ": " + err.Error()}
		}
	}
	return parts, nil
}

//export krgo_tokenizer_decode
func krgo_tokenizer_decode(h C.uintptr_t, ids *C.uint32_t, n C.size_t, flags C.uint32_t, text *C.char, size *C.size_t, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_decode", cerr, func() (status, error) {
		t, err := get[*vocabulary](&handles, handle(h), kindTokenizer)
		if err != nil {
			return ok, err
		}
		in, err := view[uint32](ids, n, "ids")
		if err != nil {
			return ok, err
		}
		if flags&^C.KR_SKIP_SPECIAL != 0 {
			return ok, invalid("flags %#x are not those of kr_tokenizer_decode", uint32(flags))
		}
		return copyOut(text, size, t.AppendDecode(nil, in, flags&C.KR_SKIP_SPECIAL != 0))
	})
}

//export krgo_tokenizer_info
func krgo_tokenizer_info(h C.uintptr_t, out *C.kr_tokenizer_info, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_describe", cerr, func() (status, error) {
		t, err := get[*vocabulary](&handles, handle(h), kindTokenizer)
		if err != nil {
			return ok, err
		}
		out.size = C.uint32_t(t.Size())
		out.bos, out.eos = C.KR_NO_ID, C.KR_NO_ID
		if id, has := t.BOS(); has {
			out.bos = C.uint32_t(id)
		}
		if id, has := t.EOS(); has {
			out.eos = C.uint32_t(id)
		}
		out.n_end_ids = 0
		for i, id := range t.EndIDs() {
			if i < len(out.end_ids) {
				out.end_ids[i] = C.uint32_t(id)
				out.n_end_ids++
			}
		}
		out.has_template = 0
		if t.ChatTemplateSource() != "" {
			out.has_template = 1
		}
		return ok, nil
	})
}

//export krgo_tokenizer_token_id
func krgo_tokenizer_token_id(h C.uintptr_t, piece *C.char, n C.size_t, id *C.uint32_t, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_token_id", cerr, func() (status, error) {
		t, err := get[*vocabulary](&handles, handle(h), kindTokenizer)
		if err != nil {
			return ok, err
		}
		p, err := copyText(C.kr_str{piece, n}, "piece")
		if err != nil {
			return ok, err
		}
		*id = C.KR_NO_ID
		if got, has := t.TokenID(p); has {
			*id = C.uint32_t(got)
		}
		return ok, nil
	})
}

//export krgo_tokenizer_piece
func krgo_tokenizer_piece(h C.uintptr_t, id C.uint32_t, piece *C.char, size *C.size_t, special *C.int32_t, cerr *C.kr_error) C.kr_status {
	return call("kr_tokenizer_piece", cerr, func() (status, error) {
		t, err := get[*vocabulary](&handles, handle(h), kindTokenizer)
		if err != nil {
			return ok, err
		}
		if int64(id) >= int64(t.Size()) {
			return ok, invalid("id %d is not below the vocabulary's size %d", uint32(id), t.Size())
		}
		if special != nil {
			*special = 0
			if t.IsSpecial(uint32(id)) {
				*special = 1
			}
		}
		return copyOut(piece, size, []byte(t.Piece(uint32(id))))
	})
}

//export krgo_template_apply
func krgo_template_apply(h C.uintptr_t, p *C.kr_template_params, text *C.char, size *C.size_t, cerr *C.kr_error) C.kr_status {
	return call("kr_template_apply", cerr, func() (status, error) {
		t, err := get[*vocabulary](&handles, handle(h), kindTokenizer)
		if err != nil {
			return ok, err
		}
		if p.flags&^C.KR_NO_GENERATION_PROMPT != 0 {
			return ok, invalid("flags %#x are not those of kr_template_params", uint32(p.flags))
		}
		chat, err := chatOf(p)
		if err != nil {
			return ok, err
		}
		out, err := t.render(chat)
		if err != nil {
			return ok, err
		}
		return copyOut(text, size, []byte(out))
	})
}
