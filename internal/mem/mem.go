// Package mem maps files and reserves page-aligned memory outside the Go heap.
package mem

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"
)

// ErrSize is wrapped when a file or a request does not fit the address space.
var ErrSize = errors.New("mem: size out of range")

const maxInt = int64(^uint(0) >> 1)

// Mapping is the read-only contents of a file. Its methods are safe for concurrent use, but the bytes must not be
// touched once Close has been called.
//
// The pages stay those of the file: a write by another process shows up, and when the file is truncated, reading the
// lost part raises SIGBUS (an exception on Windows), which ends the process. Replace model files by renaming a new
// file over the old one; never rewrite them in place.
type Mapping struct {
	stamp string

	mu   sync.Mutex
	data []byte
	free func([]byte) error
}

// Map maps the regular file at path. An empty file gives a Mapping of no bytes. Where the system has no mmap the
// file is read into the heap instead.
func Map(path string) (*Mapping, error) {
	// Asked before opening, since opening a FIFO waits for a writer.
	if fi, err := os.Stat(path); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, &os.PathError{Op: "map", Path: path, Err: fmt.Errorf("not a regular file (%v)", fi.Mode().Type())}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := fi.Size()
	if size < 0 || size > maxInt {
		return nil, &os.PathError{Op: "map", Path: path, Err: fmt.Errorf("%w: %d bytes", ErrSize, size)}
	}
	stamp := fmt.Sprintf("%d bytes, %d ns", size, fi.ModTime().UnixNano())
	if size == 0 {
		return &Mapping{stamp: stamp}, nil
	}
	data, free, err := mapFile(f, int(size))
	if err != nil {
		return nil, &os.PathError{Op: "map", Path: path, Err: err}
	}
	return &Mapping{stamp: stamp, data: data, free: free}, nil
}

// Stamp tells the file as it was when it was mapped from what it was or will be: its size and time.
func (m *Mapping) Stamp() string { return m.stamp }

// Bytes returns the file's contents, or nil after Close. The slice's memory is read-only: writing to it is a fault.
func (m *Mapping) Bytes() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.data
}

// Forget lets go of the pages that lie within b, if b is a part of the mapping: they no longer count as this process's
// memory, and come back when they are read.
func (m *Mapping) Forget(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(b) == 0 || len(m.data) == 0 {
		return
	}
	base := uintptr(unsafe.Pointer(unsafe.SliceData(m.data)))
	off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - base // large where b lies before
	if off >= uintptr(len(m.data)) || uintptr(len(b)) > uintptr(len(m.data))-off {
		return
	}
	page := uintptr(os.Getpagesize())
	first, end := (off+page-1)/page*page, (off+uintptr(len(b)))/page*page
	if first < end {
		forget(m.data[first:end])
	}
}

// Close unmaps the file. Slices of Bytes become invalid. Further calls do nothing.
func (m *Mapping) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return release(&m.data, m.free)
}

// Region is zeroed, page-aligned, writable memory that costs physical memory only once a page is written.
type Region struct {
	mu   sync.Mutex
	data []byte
	free func([]byte) error
}

// Reserve returns n bytes of such memory; n = 0 gives an empty Region.
func Reserve(n int) (*Region, error) {
	if n < 0 {
		return nil, fmt.Errorf("%w: %d bytes", ErrSize, n)
	}
	if n == 0 {
		return &Region{}, nil
	}
	data, free, err := reserve(n)
	if err != nil {
		return nil, fmt.Errorf("mem: reserve %d bytes: %w", n, err)
	}
	return &Region{data: data, free: free}, nil
}

// Bytes returns the memory, or nil after Close.
func (r *Region) Bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.data
}

// Discard gives the physical memory of the whole pages within [off, off+n) back to the system. Those pages read as
// zeros afterwards; bytes of the range that share a page with its outside are set to zero, too.
func (r *Region) Discard(off, n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if off < 0 || n < 0 || off > len(r.data) || n > len(r.data)-off {
		return fmt.Errorf("%w: discard of [%d, %d+%d) in %d bytes", ErrSize, off, off, n, len(r.data))
	}
	page := os.Getpagesize()
	end := off + n
	first := (off + page - 1) / page * page
	last := end / page * page
	if end == len(r.data) { // the rest of the last page belongs to nobody else
		last = end
	}
	if first >= last {
		clear(r.data[off:end])
		return nil
	}
	clear(r.data[off:first])
	clear(r.data[last:end])
	return discard(r.data[first:last])
}

// Close frees the memory. Slices of Bytes become invalid. Further calls do nothing.
func (r *Region) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return release(&r.data, r.free)
}

func release(data *[]byte, free func([]byte) error) error {
	d := *data
	*data = nil
	if d == nil || free == nil {
		return nil
	}
	return free(d)
}
