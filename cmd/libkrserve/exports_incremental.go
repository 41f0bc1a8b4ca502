//go:build cgo

package main

// #include "krserve.h"
import "C"

import (
	"cmp"
	"slices"
	"sync"

	"github.com/krserve/krserve/tokenizer"
)

// decoding is what a kr_decoder handle stands for. It is one thread's; the lock keeps a careless caller from damage.
type decoding struct {
	mu      sync.Mutex
	d       *tokenizer.Decoder
	pending []byte // text that found no room
}

//export krgo_decoder_open
func krgo_decoder_open(h C.uintptr_t, flags C.uint32_t, out *C.uintptr_t, cerr *C.kr_error) C.kr_status {
	return call("kr_decoder_open", cerr, func() (status, error) {
		t, err := get[*vocabulary](&handles, handle(h), kindTokenizer)
		if err != nil {
			return ok, err
		}
		if flags&^C.KR_SKIP_SPECIAL != 0 {
			return ok, invalid("flags %#x are not those of kr_decoder_open", uint32(flags))
		}
		return give(out, kindDecoder, &decoding{d: t.NewDecoder(flags&C.KR_SKIP_SPECIAL != 0)})
	})
}

//export krgo_decoder_next
func krgo_decoder_next(h C.uintptr_t, ids *C.uint32_t, n C.size_t, last C.int32_t, text *C.char, size *C.size_t, cerr *C.kr_error) C.kr_status {
	return call("kr_decoder_next", cerr, func() (status, error) {
		d, err := get[*decoding](&handles, handle(h), kindDecoder)
		if err != nil {
			return ok, err
		}
		in, err := view[uint32](ids, n, "ids")
		if err != nil {
			return ok, err
		}
		if last != 0 && last != 1 {
			return ok, invalid("last is %d", int(last))
		}
		if text == nil && *size > 0 {
			return ok, invalid("the buffer is NULL with capacity %d", uint64(*size))
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, id := range in {
			d.pending = append(d.pending, d.d.Next(id)...)
		}
		if last == 1 {
			d.pending = append(d.pending, d.d.Flush()...)
			d.d.Reset()
		}
		st, err := copyOut(text, size, d.pending)
		if err == nil {
			d.pending = d.pending[:0]
		}
		return st, err
	})
}

//export krgo_decoder_close
func krgo_decoder_close(d C.uintptr_t) C.kr_status {
	return call("kr_decoder_close", nil, func() (status, error) {
		_, err := handles.take(handle(d), kindDecoder)
		return ok, err
	})
}

// appending is what a kr_appender handle stands for. It is one thread's; the lock keeps a careless caller from damage.
type appending struct {
	mu    sync.Mutex
	a     *tokenizer.Appender
	marks []numbered // ascending
	given uint64
}

// numbered is a mark as C sees it.
type numbered struct {
	id   uint64
	mark tokenizer.Mark
}

//export krgo_appender_open
func krgo_appender_open(h C.uintptr_t, flags C.uint32_t, out *C.uintptr_t, cerr *C.kr_error) C.kr_status {
	return call("kr_appender_open", cerr, func() (status, error) {
		t, err := get[*vocabulary](&handles, handle(h), kindTokenizer)
		if err != nil {
			return ok, err
		}
		mode := tokenizer.Recognise
		switch flags {
		case 0:
		case C.KR_SPECIAL_TEXT:
			mode = tokenizer.AsText
		default:
			return ok, invalid("flags %#x are not those of kr_appender_open", uint32(flags))
		}
		a, err := t.NewAppender(mode)
		if err != nil {
			return ok, err
		}
		return give(out, kindAppender, &appending{a: a})
	})
}

//export krgo_appender_add
func krgo_appender_add(h C.uintptr_t, text *C.char, n C.size_t, flags C.uint32_t, mark *C.uint64_t, count *C.size_t, cerr *C.kr_error) C.kr_status {
	return call("kr_appender_add", cerr, func() (status, error) {
		a, err := get[*appending](&handles, handle(h), kindAppender)
		if err != nil {
			return ok, err
		}
		s, err := copyText(C.kr_str{text, n}, "text")
		if err != nil {
			return ok, err
		}
		if flags&^C.KR_SPECIAL_TEXT != 0 {
			return ok, invalid("flags %#x are not those of kr_appender_add", uint32(flags))
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.a.Len()+len(s) > maxLen {
			return ok, invalid("text: the whole would be longer than 2^31-1")
		}
		if mark != nil {
			a.given++
			a.marks = append(a.marks, numbered{a.given, a.a.Mark()})
			*mark = C.uint64_t(a.given)
		}
		if flags != 0 {
			a.a.AppendPlain(s)
		} else {
			a.a.Append(s)
		}
		a.number(count)
		return ok, nil
	})
}

// number reports how many ids there are, to a caller who asks.
func (a *appending) number(count *C.size_t) {
	if count != nil {
		*count = C.size_t(len(a.a.IDs()))
	}
}

//export krgo_appender_ids
func krgo_appender_ids(h C.uintptr_t, from C.size_t, ids *C.uint32_t, count *C.size_t, cerr *C.kr_error) C.kr_status {
	return call("kr_appender_ids", cerr, func() (status, error) {
		a, err := get[*appending](&handles, handle(h), kindAppender)
		if err != nil {
			return ok, err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		all := a.a.IDs()
		if uint64(from) > uint64(len(all)) {
			return ok, invalid("from is %d, and there are %d ids", uint64(from), len(all))
		}
		return copyOut(ids, count, all[from:])
	})
}

//export krgo_appender_undo
func krgo_appender_undo(h C.uintptr_t, mark C.uint64_t, count *C.size_t, cerr *C.kr_error) C.kr_status {
	return call("kr_appender_undo", cerr, func() (status, error) {
		a, err := get[*appending](&handles, handle(h), kindAppender)
		if err != nil {
			return ok, err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		i, found := slices.BinarySearchFunc(a.marks, uint64(mark), func(m numbered, id uint64) int { return cmp.Compare(m.id, id) })
		if !found {
			return ok, invalid("mark %d is void or was never given", uint64(mark))
		}
		if err := a.a.Undo(a.marks[i].mark); err != nil {
			return ok, err
		}
		a.marks = a.marks[:i+1]
		a.number(count)
		return ok, nil
	})
}

//export krgo_appender_close
func krgo_appender_close(a C.uintptr_t) C.kr_status {
	return call("kr_appender_close", nil, func() (status, error) {
		_, err := handles.take(handle(a), kindAppender)
		return ok, err
	})
}
