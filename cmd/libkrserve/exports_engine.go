//go:build cgo

package main

// #include "krserve.h"
import "C"

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"unsafe"

	"github.com/krserve/krserve"
)

func itoa(i int) string { return strconv.Itoa(i) }

//export krgo_engine_open
func krgo_engine_open(p *C.kr_engine_params, tok, pool C.uintptr_t, out *C.uintptr_t, cerr *C.kr_error) C.kr_status {
	return call("kr_engine_open", cerr, func() (status, error) {
		cfg, err := configOf(p)
		if err != nil {
			return ok, err
		}
		if tok != 0 {
			v, err := get[*vocabulary](&handles, handle(tok), kindTokenizer)
			if err != nil {
				return ok, err
			}
			cfg.Tokenizer = v.Tokenizer
		}
		e := &engine{}
		if pool != 0 {
			if e.pool, err = get[*sharedPool](&handles, handle(pool), kindPool); err != nil {
				return ok, err
			}
			if !e.pool.hold() {
				return ok, closed("%s handle is closed", kindPool)
			}
			cfg.Pool = e.pool.KVPool
		}
		if e.Engine, err = krserve.Open(context.Background(), cfg); err != nil {
			return ok, errors.Join(err, e.pool.drop())
		}
		st, err := give(out, kindEngine, e)
		if err != nil {
			err = errors.Join(err, e.close())
		}
		return st, err
	})
}

// engine is an open engine and the pool that it shares, if any.
type engine struct {
	*krserve.Engine
	pool *sharedPool
}

func (e *engine) close() error { return errors.Join(e.Engine.Close(), e.pool.drop()) }

func configOf(p *C.kr_engine_params) (cfg krserve.Config, err error) {
	if p.flags&^(C.KR_FETCH|C.KR_OFFLINE|C.KR_NO_PACKED_WEIGHTS) != 0 {
		return cfg, invalid("flags %#x are not those of kr_engine_params", uint32(p.flags))
	}
	cfg = krserve.Config{
		Threads:       int(p.threads),
		ContextTokens: int(p.context_tokens),
		KVBytes:       int64(p.kv_bytes),
		Fetch:         p.flags&C.KR_FETCH != 0,
		Hub:           krserve.Hub{Offline: p.flags&C.KR_OFFLINE != 0},
		Logger:        slog.New(logHandler{}),

		ActivationBits:  int(p.activation_bits),
		NoPackedWeights: p.flags&C.KR_NO_PACKED_WEIGHTS != 0,
	}
	for _, f := range []struct {
		to   *string
		from C.kr_str
		what string
	}{
		{&cfg.Model, p.model, "model"}, {&cfg.Backend, p.backend, "backend"}, {&cfg.Kernel, p.kernel, "kernel"},
		{&cfg.Hub.CacheDir, p.cache_dir, "cache_dir"}, {&cfg.Hub.Endpoint, p.hub_endpoint, "hub_endpoint"},
		{&cfg.Hub.Token, p.hub_token, "hub_token"}, {&cfg.KVType, p.kv_type, "kv_type"},
		{&cfg.CacheDir, p.prepared_dir, "prepared_dir"},
	} {
		if *f.to, err = name(f.from, f.what); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

//export krgo_engine_close
func krgo_engine_close(h C.uintptr_t) C.kr_status {
	return call("kr_engine_close", nil, func() (status, error) {
		v, err := handles.take(handle(h), kindEngine)
		if err != nil {
			return ok, err
		}
		return ok, v.(*engine).close()
	})
}

//export krgo_engine_tokenizer
func krgo_engine_tokenizer(h C.uintptr_t, out *C.uintptr_t, cerr *C.kr_error) C.kr_status {
	return call("kr_engine_tokenizer", cerr, func() (status, error) {
		e, err := get[*engine](&handles, handle(h), kindEngine)
		if err != nil {
			return ok, err
		}
		return give(out, kindTokenizer, newVocabulary(e.Tokenizer()))
	})
}

//export krgo_engine_start
func krgo_engine_start(h C.uintptr_t, r *C.kr_request, out *C.uintptr_t, cerr *C.kr_error) C.kr_status {
	return call("kr_engine_start", cerr, func() (status, error) {
		e, err := get[*engine](&handles, handle(h), kindEngine)
		if err != nil {
			return ok, err
		}
		req, err := requestOf(r)
		if err != nil {
			return ok, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		st, err := e.Start(ctx, req)
		if err != nil {
			cancel()
			return ok, err
		}
		code, err := give(out, kindStream, &stream{st: st, cancel: cancel})
		if err != nil {
			cancel()
			st.Close()
		}
		return code, err
	})
}

// requestOf copies a caller's request: the engine reads it after the call.
func requestOf(r *C.kr_request) (req krserve.Request, err error) {
	if r.flags&^(C.KR_ALLOW_SPECIAL|C.KR_IGNORE_EOS|C.KR_LOGPROBS) != 0 {
		return req, invalid("flags %#x are not those of kr_request", uint32(r.flags))
	}
	req = krserve.Request{
		AllowSpecial:      r.flags&C.KR_ALLOW_SPECIAL != 0,
		IgnoreEOS:         r.flags&C.KR_IGNORE_EOS != 0,
		LogProbs:          r.flags&C.KR_LOGPROBS != 0,
		MaxTokens:         int(r.max_tokens),
		Temperature:       float32(r.temperature),
		TopK:              int(r.top_k),
		TopP:              float32(r.top_p),
		MinP:              float32(r.min_p),
		RepetitionPenalty: float32(r.repetition_penalty),
		PresencePenalty:   float32(r.presence_penalty),
		FrequencyPenalty:  float32(r.frequency_penalty),
		Seed:              uint64(r.seed),
		Choice:            uint32(r.choice),
		TopLogProbs:       int(r.top_logprobs),
		Priority:          int(r.priority),
	}
	if req.Messages, err = messagesOf(r.messages, r.n_messages); err != nil {
		return req, err
	}
	if req.Raw, err = copyText(r.raw, "raw"); err != nil {
		return req, err
	}
	if req.Tenant, err = copyText(r.tenant, "tenant"); err != nil {
		return req, err
	}
	if req.Tools, err = object(r.tools, '[', "tools"); err != nil {
		return req, err
	}
	if req.Kwargs, err = object(r.kwargs, '{', "kwargs"); err != nil {
		return req, err
	}
	if req.Prompt, err = copyIDs(r.prompt, r.n_prompt, "prompt"); err != nil {
		return req, err
	}
	if req.StopIDs, err = copyIDs(r.stop_ids, r.n_stop_ids, "stop_ids"); err != nil {
		return req, err
	}
	stops, err := view[C.kr_str](r.stop, r.n_stop, "stop")
	if err != nil {
		return req, err
	}
	for i, s := range stops {
		text, err := copyText(s, "stop["+itoa(i)+"]")
		if err != nil {
			return req, err
		}
		req.Stop = append(req.Stop, text)
	}
	bias, err := view[C.kr_logit_bias](r.logit_bias, r.n_logit_bias, "logit_bias")
	if err != nil {
		return req, err
	}
	if len(bias) > 0 {
		req.LogitBias = make(map[uint32]float32, len(bias))
		for _, b := range bias {
			req.LogitBias[uint32(b.id)] = float32(b.bias)
		}
	}
	return req, nil
}

func copyIDs(p *C.uint32_t, n C.size_t, what string) ([]uint32, error) {
	ids, err := view[uint32](p, n, what)
	return append([]uint32(nil), ids...), err
}

func messagesOf(p *C.kr_message, n C.size_t) ([]krserve.Message, error) {
	in, err := view[C.kr_message](p, n, "messages")
	if err != nil {
		return nil, err
	}
	var out []krserve.Message
	for i, m := range in {
		at := "messages[" + itoa(i) + "]."
		var msg krserve.Message
		if msg.Role, err = copyText(m.role, at+"role"); err != nil {
			return nil, err
		}
		if msg.Content, err = copyText(m.content, at+"content"); err != nil {
			return nil, err
		}
		if msg.Extra, err = object(m.extra, '{', at+"extra"); err != nil {
			return nil, err
		}
		out = append(out, msg)
	}
	return out, nil
}

//export krgo_engine_stats
func krgo_engine_stats(h C.uintptr_t, out *C.kr_stats, cerr *C.kr_error) C.kr_status {
	return call("kr_engine_stats", cerr, func() (status, error) {
		e, err := get[*engine](&handles, handle(h), kindEngine)
		if err != nil {
			return ok, err
		}
		s := e.Stats()
		out.threads = C.int32_t(s.Threads)
		dst := unsafe.Slice((*byte)(unsafe.Pointer(&out.backend[0])), len(out.backend))
		dst[copy(dst[:len(dst)-1], s.Backend)] = 0
		out.context_tokens = C.uint32_t(e.Info().Context)
		out.running, out.waiting = C.uint32_t(s.Running), C.uint32_t(s.Waiting)
		out.weight_bytes = C.uint64_t(s.WeightBytes)
		out.kv_bytes = C.uint64_t(s.KVBytes)
		out.scratch_bytes = C.uint64_t(s.ScratchBytes)
		out.steps = C.uint64_t(s.Steps)
		out.rows = C.uint64_t(s.Rows)
		out.step_seconds = C.double(s.StepSeconds)
		out.prompt_tokens = C.uint64_t(s.PromptTokens)
		out.cached_tokens = C.uint64_t(s.CachedTokens)
		out.completion_tokens = C.uint64_t(s.CompletionTokens)
		out.restored_tokens = C.uint64_t(s.RestoredTokens)
		out.draft_tokens, out.accepted_tokens = C.uint64_t(s.DraftTokens), C.uint64_t(s.AcceptedTokens)
		out.preemptions = C.uint64_t(s.Preemptions)
		return ok, nil
	})
}
