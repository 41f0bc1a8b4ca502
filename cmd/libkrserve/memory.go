//go:build cgo

package main

// #include "krserve.h"
import "C"

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// maxLen bounds every length that a caller states: a larger one is a mistake, not a text.
const maxLen = 1<<31 - 1

// view borrows n elements of the caller's memory for the length of one call.
func view[T, C any](p *C, n C_size, what string) ([]T, error) {
	switch {
	case n == 0:
		return nil, nil
	case n > maxLen:
		return nil, invalid("%s: length %d is above 2^31-1", what, uint64(n))
	case p == nil:
		return nil, invalid("%s is NULL with length %d", what, uint64(n))
	}
	return unsafe.Slice((*T)(unsafe.Pointer(p)), int(n)), nil
}

// C_size is size_t, nameable in a generic signature.
type C_size = C.size_t

// copyText copies a caller's string.
func copyText(s C.kr_str, what string) (string, error) {
	b, err := view[byte](s.data, s.len, what)
	return string(b), err
}

// name copies a path or a name: UTF-8 without NUL.
func name(s C.kr_str, what string) (string, error) {
	text, err := copyText(s, what)
	if err == nil && (!utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0) {
		err = invalid("%s is not UTF-8 without NUL", what)
	}
	return text, err
}

// object copies a string that holds JSON of the given first character.
func object(s C.kr_str, open byte, what string) (json.RawMessage, error) {
	text, err := copyText(s, what)
	if err != nil || text == "" {
		return nil, err
	}
	if trimmed := strings.TrimLeft(text, " \t\r\n"); !json.Valid([]byte(text)) || trimmed[0] != open {
		return nil, invalid("%s is not a JSON %s", what, map[byte]string{'{': "object", '[': "array"}[open])
	}
	return json.RawMessage(text), nil
}

// copyOut fills a caller's buffer of *n elements, or says how many it needs.
func copyOut[T, C any](dst *C, n *C_size, src []T) (status, error) {
	capacity := uint64(*n)
	*n = C_size(len(src))
	if uint64(len(src)) > capacity {
		return ok, &callError{errBuffer, sizeText(len(src), capacity)}
	}
	if len(src) > 0 {
		if dst == nil {
			return ok, invalid("the buffer is NULL with capacity %d", capacity)
		}
		copy(unsafe.Slice((*T)(unsafe.Pointer(dst)), len(src)), src)
	}
	return ok, nil
}

func sizeText(need int, have uint64) string {
	return "the buffer has room for " + strconv.FormatUint(have, 10) + ", needed are " + strconv.Itoa(need)
}
