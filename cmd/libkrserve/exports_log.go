//go:build cgo

package main

// #include "krserve.h"
// #include "shim.h"
import "C"

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"unsafe"
)

// sink is the process's log callback. Readers hold mu while the callback runs, so that its replacement waits for it.
var sink struct {
	mu       sync.RWMutex
	fn, user unsafe.Pointer
	level    atomic.Int32
	set      atomic.Bool
}

//export krgo_log_set
func krgo_log_set(fn, user unsafe.Pointer, level C.int32_t) C.kr_status {
	return call("kr_log_set", nil, func() (status, error) {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		sink.fn, sink.user = fn, user
		sink.level.Store(int32(level))
		sink.set.Store(fn != nil)
		return ok, nil
	})
}

// logHandler passes records to the callback, as one line of message and key=value pairs.
type logHandler struct {
	with []func(slog.Handler) slog.Handler // the attributes and groups added so far
}

func (h logHandler) Enabled(_ context.Context, l slog.Level) bool {
	return sink.set.Load() && int32(l) >= sink.level.Load()
}

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	var b bytes.Buffer
	var text slog.Handler = slog.NewTextHandler(&b, &slog.HandlerOptions{
		Level: slog.Level(-1 << 31),
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})
	for _, w := range h.with {
		text = w(text)
	}
	b.WriteString(r.Message + " ")
	if err := text.Handle(ctx, r); err != nil {
		return err
	}
	line := append(bytes.TrimRight(b.Bytes(), " \n"), 0) // the NUL is not counted
	sink.mu.RLock()
	defer sink.mu.RUnlock()
	if sink.fn != nil {
		C.shim_log(sink.fn, sink.user, C.int32_t(r.Level), (*C.char)(unsafe.Pointer(&line[0])), C.size_t(len(line)-1))
	}
	return nil
}

func (h logHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return h.and(func(t slog.Handler) slog.Handler { return t.WithAttrs(as) })
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return h.and(func(t slog.Handler) slog.Handler { return t.WithGroup(name) })
}

func (h logHandler) and(w func(slog.Handler) slog.Handler) slog.Handler {
	return logHandler{append(h.with[:len(h.with):len(h.with)], w)}
}
