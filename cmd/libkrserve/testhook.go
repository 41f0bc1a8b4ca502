//go:build cgo && krtest

package main

// #include "krserve.h"
import "C"

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// The panic hook is in test builds of the library alone (tag krtest): what a defect deep in the library does.
var panicIn atomic.Pointer[string]

func init() {
	onEnter = func(name string) {
		if p := panicIn.Load(); p != nil && (*p == name || *p == "*") {
			var none []int
			_ = none[len(name)] // an honest run-time panic
		}
	}
}

//export krgo_test_panic
func krgo_test_panic(name *C.char) {
	if name == nil {
		panicIn.Store(nil)
		return
	}
	s := C.GoString(name)
	panicIn.Store(&s)
}

//export krgo_test_log
func krgo_test_log(level C.int32_t, text *C.char) {
	log := slog.New(logHandler{}).WithGroup("group").With("key", "value")
	slog.New(log.Handler()).Log(context.Background(), slog.Level(level), C.GoString(text))
}
