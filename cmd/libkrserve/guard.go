//go:build cgo

package main

// #cgo CFLAGS: -I${SRCDIR}/../../include -std=gnu11 -Wall -Wextra -Werror -fvisibility=hidden
// #include "krserve.h"
import "C"

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// onEnter runs at the start of every call; only the test build sets it.
var onEnter func(name string)

// call runs one exported function: f's error becomes a status and the text of cerr, a panic KR_ERR_INTERNAL.
// A fault at an address that the caller vouched for is a panic here, too.
func call(name string, cerr *C.kr_error, f func() (status, error)) (code C.kr_status) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			code = fill(cerr, errInternal, name+": panic: "+describe(r))
		}
	}()
	if onEnter != nil {
		onEnter(name)
	}
	st, err := f()
	if err != nil {
		return fill(cerr, statusOf(err), err.Error())
	}
	return fill(cerr, st, "")
}

// safely runs f in a goroutine of this package, where a panic would end the process.
func safely(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &callError{errInternal, "panic: " + describe(r)}
		}
	}()
	return f()
}

// describe gives the panic's value and the function that raised it.
func describe(r any) string {
	text := fmt.Sprint(r)
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if f.Function != "" && !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s in %s:%d", text, f.Function, f.Line)
		}
		if !more {
			return text
		}
	}
}

// fill writes a status and its text, cut at a character, into the caller's kr_error.
func fill(cerr *C.kr_error, st status, text string) C.kr_status {
	if cerr != nil {
		cerr.code = C.int32_t(st)
		dst := unsafe.Slice((*byte)(unsafe.Pointer(&cerr.message[0])), len(cerr.message))
		text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
		if len(text) >= len(dst) {
			n := len(dst) - 1
			for n > 0 && !utf8.RuneStart(text[n]) {
				n--
			}
			text = text[:n]
		}
		dst[copy(dst, text)] = 0
	}
	return C.kr_status(st)
}
