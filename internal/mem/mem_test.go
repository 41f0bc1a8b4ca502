package mem

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"
)

func TestMap(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []int{0, 1, 4095, 4096, 4097, 1 << 20} {
		want := bytes.Repeat([]byte("krserve"), n/7+1)[:n]
		p := filepath.Join(dir, "file")
		if err := os.WriteFile(p, want, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Map(p)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.Bytes(), want) {
			t.Errorf("%d bytes: contents differ", n)
		}
		// The mapping outlives the directory entry, as a model does when an update is renamed over it.
		if err := os.Rename(p, p+".old"); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.Bytes(), want) {
			t.Errorf("%d bytes: contents differ after rename", n)
		}
		for range 2 {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
		if m.Bytes() != nil {
			t.Error("bytes after Close")
		}
	}
}

func TestMapRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Map(dir); err == nil {
		t.Error("mapped a directory")
	}
	if _, err := Map(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestRegion(t *testing.T) {
	page := os.Getpagesize()
	for _, n := range []int{1, page, 3*page + 5} {
		r, err := Reserve(n)
		if err != nil {
			t.Fatal(err)
		}
		b := r.Bytes()
		if len(b) != n || uintptr(unsafe.Pointer(&b[0]))%uintptr(page) != 0 {
			t.Fatalf("%d bytes: len %d at %p", n, len(b), &b[0])
		}
		// Every range reads as zeros after Discard, and nothing outside of it changes.
		for _, c := range [][2]int{{0, n}, {0, 0}, {n / 2, n - n/2}, {0, n / 2}, {n / 3, n / 3}} {
			for i := range b {
				b[i] = 0xa5
			}
			if err := r.Discard(c[0], c[1]); err != nil {
				t.Fatal(err)
			}
			for i, v := range b {
				want := byte(0xa5)
				if i >= c[0] && i < c[0]+c[1] {
					want = 0
				}
				if v != want {
					t.Fatalf("%d bytes, discard %v: byte %d is %#x, want %#x", n, c, i, v, want)
				}
			}
		}
		for _, c := range [][2]int{{-1, 1}, {0, n + 1}, {n + 1, 0}, {1, n}, {1, int(^uint(0) >> 1)}} {
			if err := r.Discard(c[0], c[1]); !errors.Is(err, ErrSize) {
				t.Errorf("discard %v of %d: %v", c, n, err)
			}
		}
		for range 2 {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := Reserve(-1); !errors.Is(err, ErrSize) {
		t.Errorf("negative size: %v", err)
	}
	if r, err := Reserve(0); err != nil || len(r.Bytes()) != 0 || r.Close() != nil {
		t.Errorf("empty region: %v", err)
	}
}

// TestForget: what is let go reads as before; nothing happens to memory that is not the mapping's.
func TestForget(t *testing.T) {
	want := bytes.Repeat([]byte("weights "), 1<<15)
	p := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(p, want, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Map(p)
	if err != nil {
		t.Fatal(err)
	}
	b := m.Bytes()
	heap := bytes.Clone(want)
	for _, x := range [][]byte{b, b[100:9000], b[5:6], b[len(b):], nil, heap, heap[:1]} {
		m.Forget(x)
		if !bytes.Equal(b, want) || !bytes.Equal(heap, want) {
			t.Fatalf("%d bytes let go: other contents", len(x))
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m.Forget(heap)
	if !bytes.Equal(heap, want) {
		t.Error("memory changed after Close")
	}
}

// TestStamp: another size or another time is another stamp; the same file mapped twice has the same.
func TestStamp(t *testing.T) {
	p := filepath.Join(t.TempDir(), "file")
	seen := map[string]bool{}
	for i, c := range []struct {
		n  int
		at int64
	}{{0, 1}, {0, 2}, {5, 1}, {5, 2}, {6, 2}} {
		at := time.Unix(c.at, 1)
		if err := errors.Join(os.WriteFile(p, make([]byte, c.n), 0o600), os.Chtimes(p, at, at)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			m, err := Map(p)
			if err != nil {
				t.Fatal(err)
			}
			seen[m.Stamp()] = true
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if len(seen) != i+1 {
			t.Errorf("%d files, stamps %v", i+1, seen)
		}
	}
}
