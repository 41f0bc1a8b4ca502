//go:build cgo

package main

// #include "krserve.h"
import "C"

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/krserve/krserve"
)

// A stream remembers the token that did not fit the caller's buffer, and how it ended.
type stream struct {
	st     *krserve.Stream
	cancel context.CancelFunc
	closed atomic.Bool

	mu   sync.Mutex     // held by the one caller of next
	held *krserve.Token // read, but not yet handed over
	end  error          // what Poll said last, io.EOF for a normal end
}

// next waits up to limit, for ever when that is negative. It reports false when there is nothing yet.
func (s *stream) next(limit time.Duration) (*krserve.Token, bool, error) {
	switch {
	case s.end != nil:
		return nil, true, s.end
	case s.held != nil:
		return s.held, true, nil
	}
	tok, ready, err := s.st.Poll(limit)
	if err != nil {
		s.end = err
		return nil, true, err
	}
	return &tok, ready, nil
}

// failure turns the end of a stream into what the caller is told: nil for a normal one.
func (s *stream) failure(err error) error {
	switch {
	case s.closed.Load():
		return closed("the stream was closed while it was read")
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

//export krgo_stream_next
func krgo_stream_next(h C.uintptr_t, out *C.kr_token, timeoutMS C.int32_t, cerr *C.kr_error) C.kr_status {
	return call("kr_stream_next", cerr, func() (status, error) {
		s, err := get[*stream](&handles, handle(h), kindStream)
		if err != nil {
			return ok, err
		}
		if !s.mu.TryLock() {
			return ok, invalid("the stream is in use by another thread")
		}
		defer s.mu.Unlock()
		out.id, out.logprob, out.finish = C.KR_NO_ID, 0, C.KR_FINISH_NONE
		out.text_len, out.top_len, out.seed = 0, 0, C.uint64_t(s.st.Seed())
		limit := time.Duration(timeoutMS) * time.Millisecond
		tok, ready, err := s.next(limit)
		switch {
		case err != nil:
			out.finish = finishOf(s.st.FinishReason())
			usage := s.st.Usage()
			out.prompt_tokens = C.uint32_t(usage.PromptTokens)
			out.cached_tokens = C.uint32_t(usage.CachedTokens)
			out.completion_tokens = C.uint32_t(usage.CompletionTokens)
			return done, s.failure(err)
		case !ready:
			return timeout, nil
		}
		s.held = tok
		if err := fillToken(out, tok); err != nil {
			return ok, err
		}
		s.held = nil
		return ok, nil
	})
}

// fillToken writes a token into the caller's buffers, or nothing when one is too small.
func fillToken(out *C.kr_token, tok *krserve.Token) error {
	out.text_len, out.top_len = C.size_t(len(tok.Text)), 0
	if len(tok.Text) > int(min(out.text_cap, maxLen)) {
		return &callError{errBuffer, "text: " + sizeText(len(tok.Text), uint64(out.text_cap))}
	}
	if len(tok.Text) > 0 && out.text == nil {
		return invalid("text is NULL with text_cap %d", uint64(out.text_cap))
	}
	if out.top != nil && len(tok.Top) > 0 {
		out.top_len = C.size_t(len(tok.Top))
		if len(tok.Top) > int(min(out.top_cap, maxLen)) {
			return &callError{errBuffer, "top: " + sizeText(len(tok.Top), uint64(out.top_cap))}
		}
		top := unsafe.Slice(out.top, len(tok.Top))
		for i, p := range tok.Top {
			top[i] = C.kr_logprob{C.uint32_t(p.ID), C.float(p.LogProb)}
		}
	}
	if len(tok.Text) > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(out.text)), len(tok.Text)), tok.Text)
	}
	out.id, out.logprob = C.uint32_t(tok.ID), C.float(tok.LogProb)
	return nil
}

func finishOf(r krserve.FinishReason) C.int32_t {
	switch r {
	case krserve.FinishStop:
		return C.KR_FINISH_STOP
	case krserve.FinishLength:
		return C.KR_FINISH_LENGTH
	case krserve.FinishCancelled:
		return C.KR_FINISH_CANCELLED
	case krserve.FinishError:
		return C.KR_FINISH_ERROR
	}
	return C.KR_FINISH_NONE
}

//export krgo_stream_cancel
func krgo_stream_cancel(h C.uintptr_t) C.kr_status {
	return call("kr_stream_cancel", nil, func() (status, error) {
		s, err := get[*stream](&handles, handle(h), kindStream)
		if err == nil {
			s.cancel()
		}
		return ok, err
	})
}

//export krgo_stream_close
func krgo_stream_close(h C.uintptr_t) C.kr_status {
	return call("kr_stream_close", nil, func() (status, error) {
		v, err := handles.take(handle(h), kindStream)
		if err != nil {
			return ok, err
		}
		s := v.(*stream)
		s.closed.Store(true)
		s.cancel()
		s.st.Close()
		return ok, nil
	})
}
