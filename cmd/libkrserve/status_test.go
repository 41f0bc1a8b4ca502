//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestStatusTable: every sentinel has a status, every status a sentinel or a reason of its own, and the numbers and
// names are the header's.
func TestStatusTable(t *testing.T) {
	source, err := os.ReadFile("status.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(sentinels(t, "."), sentinels(t, "tokenizer")...) {
		if !strings.Contains(string(source), ", "+s+"}") {
			t.Errorf("%s has no row in statuses", s)
		}
	}
	data, err := os.ReadFile(filepath.Join(includeDir, "krserve.h"))
	if err != nil {
		t.Fatal(err)
	}
	inHeader := map[string]status{}
	for _, m := range regexp.MustCompile(`(?m)^  (KR_(?:OK|DONE|TIMEOUT|ERR_\w+))\s+= (-?\d+)`).FindAllStringSubmatch(string(data), -1) {
		inHeader[m[1]] = status(atoi(m[2]))
	}
	if len(inHeader) != 18 {
		t.Errorf("header has %d statuses: %v", len(inHeader), inHeader)
	}
	inTable := map[string]bool{}
	for _, e := range statuses {
		if n, found := inHeader[e.name]; !found || n != e.status {
			t.Errorf("%s is %d here and %d in the header", e.name, e.status, n)
		}
		inTable[e.name] = true
		if e.sentinel == nil {
			continue
		}
		wrapped := fmt.Errorf("open x: %w", fmt.Errorf("line 3: %w", e.sentinel))
		if got := statusOf(wrapped); got != e.status {
			t.Errorf("%v gives %v, want %v", e.sentinel, got, e.status)
		}
	}
	for name := range inHeader {
		if !inTable[name] {
			t.Errorf("%s has no row in statuses", name)
		}
	}
	// What no sentinel names: exactly these arise in this package or outside Go's sentinels.
	own := map[status]bool{ok: true, done: true, timeout: true, errBuffer: true, errInternal: true}
	for _, e := range statuses {
		if (e.sentinel == nil) != own[e.status] {
			t.Errorf("%s: sentinel %v", e.name, e.sentinel)
		}
	}
}

func TestStatusOf(t *testing.T) {
	_, missing := os.Open(filepath.Join(t.TempDir(), "none"))
	for _, c := range []struct {
		err  error
		want status
	}{
		{nil, ok},
		{missing, errNotFound},
		{&fs.PathError{Op: "read", Path: "x", Err: errors.New("bad sector")}, errIO},
		{&net.DNSError{Err: "no such host"}, errIO},
		{errors.New("strange"), errInternal},
		{context.Canceled, errCancelled},
		{invalid("x"), errInvalid},
		{fmt.Errorf("text 3: %w", closed("x")), errClosed},
		{errors.Join(errors.New("a"), context.Canceled), errCancelled},
	} {
		if got := statusOf(c.err); got != c.want {
			t.Errorf("%v gives %v, want %v", c.err, got, c.want)
		}
	}
}

func TestHandles(t *testing.T) {
	var tab table
	a, err := tab.put(kindTokenizer, "a")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := tab.put(kindEngine, "b")
	want := func(h handle, k kind, st status) {
		t.Helper()
		_, err := get[string](&tab, h, k)
		if statusOf(err) != st {
			t.Errorf("%#x as %v: %v, want %v", uint64(h), k, err, st)
		}
	}
	want(a, kindTokenizer, ok)
	want(b, kindEngine, ok)
	want(a, kindEngine, errInvalid)
	want(0, kindEngine, errInvalid)
	want(a+16, kindEngine, errInvalid)                          // a's slot under another kind
	want(a+1, kindTokenizer, errInvalid)                        // not the tag
	want(a|1<<60, kindTokenizer, errInvalid)                    // high bits
	want(makeHandle(kindEngine, 1, 2), kindEngine, errInvalid)  // a generation yet to come
	want(makeHandle(kindEngine, 99, 1), kindEngine, errInvalid) // a slot that never was
	want(makeHandle(kindEngine, 1, 0), kindEngine, errInvalid)  // generation 0
	want(handle(0x7ffd12345670), kindEngine, errInvalid)        // an address
	want(handle(0xffffffffffffffff), kindEngine, errInvalid)

	if _, err := tab.take(a, kindEngine); statusOf(err) != errInvalid {
		t.Errorf("took a tokenizer as an engine: %v", err)
	}
	if v, err := tab.take(a, kindTokenizer); v != "a" || err != nil {
		t.Errorf("take: %v, %v", v, err)
	}
	want(a, kindTokenizer, errClosed)
	if _, err := tab.take(a, kindTokenizer); statusOf(err) != errClosed {
		t.Errorf("took twice: %v", err)
	}
	c, _ := tab.put(kindStream, "c")
	if c.slot() != a.slot() || c == a {
		t.Errorf("slot %d is not reused by %#x", a.slot(), uint64(c))
	}
	want(a, kindTokenizer, errClosed) // still, though its slot lives under another kind
	want(a, kindStream, errInvalid)

	// A slot whose generations are spent is given up.
	tab.slots[c.slot()].gen = maxGen - 1
	last := makeHandle(kindStream, c.slot(), maxGen-1)
	if _, err := tab.take(last, kindStream); err != nil {
		t.Fatal(err)
	}
	d, _ := tab.put(kindStream, "d")
	if d.slot() != c.slot() || d.gen() != maxGen {
		t.Fatalf("got slot %d, generation %d", d.slot(), d.gen())
	}
	if _, err := tab.take(d, kindStream); err != nil {
		t.Fatal(err)
	}
	if e, _ := tab.put(kindStream, "e"); e.slot() == c.slot() {
		t.Error("a spent slot was reused")
	}
	want(d, kindStream, errClosed)
}

// TestHandlesNeverReturn: an id that was closed stays closed through many reuses of its slot.
func TestHandlesNeverReturn(t *testing.T) {
	var tab table
	seen := map[handle]bool{}
	for i := range 10_000 {
		h, err := tab.put(kind(1+i%3), i)
		if err != nil || seen[h] {
			t.Fatalf("%#x: seen %v, %v", uint64(h), seen[h], err)
		}
		seen[h] = true
		if i%4 != 0 {
			if _, err := tab.take(h, kind(1+i%3)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
