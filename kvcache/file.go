package kvcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime/debug"
	"sync"

	"github.com/gofrs/flock"

	"github.com/krserve/krserve/internal/mem"
)

// file is the tier in one file: a page with the file's own header, then regions of equal size, each a log of records
// that begins at the region's start. Records of one region carry one epoch, given when the region was begun anew; the log
// ends at the first place that holds no header of that epoch. A record's data is written before its header, so that a
// process killed at any byte leaves a log that ends earlier; data is checked against its sum when it is read. The oldest
// region gives way as a whole: its first header is cleared before anything else there is written over. Nothing is synced: after a power loss the sums tell what was lost.
type file struct {
	mu      sync.Mutex
	f       *os.File
	writeAt func(b []byte, off int64) (int, error) // to f; tests look at it
	lock    *flock.Flock
	m       *mem.Mapping
	data    []byte // the mapping
	size    int64  // of a region
	regions []region
	index   map[Key]spot
	active  int
	epoch   uint32 // last one given
	tick    uint64
	lost    error // why nothing more is written
	told    bool  // of lost
	bytes   int64 // of indexed records
	hits    uint64
	written uint64
	damaged uint64
}

type region struct {
	epoch   uint32 // 0 = empty
	end     int64  // of its log, from the region's start
	used    uint64 // tick of the last use
	readers int
	keys    []Key
}

// spot is where a record lies.
type spot struct {
	region  int
	off     int64 // in the file
	length  int   // of data
	written int64
}

const (
	filePage        = 4096
	fileMagic       = "krserve kv tier\n"
	fileVersion     = 1
	fileRegions     = 16
	maxRegion       = 64 << 20
	defaultFile     = 8 << 30
	minFile         = 32 * filePage
	recordAlignment = 64
)

// ErrLocked is returned by New when another pool, here or in another process, has the file open.
var ErrLocked = errors.New("kvcache: the file is in use by another pool")

// openFile opens or makes the file of a pool. A file that is damaged, or of another version, begins anew.
func openFile(path string, size int64) (*file, error) {
	if size == 0 {
		size = defaultFile
	}
	if size < minFile {
		return nil, fmt.Errorf("%w: FileBytes = %d: want at least %d", ErrInvalid, size, minFile)
	}
	lock := flock.New(path + ".lock")
	ok, err := lock.TryLock()
	if err == nil && !ok {
		err = fmt.Errorf("%w: %s", ErrLocked, path)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	t := &file{lock: lock, index: map[Key]spot{}}
	if err := t.open(path, size); err != nil {
		return nil, errors.Join(fmt.Errorf("kvcache: file tier: %w", err), t.close())
	}
	return t, nil
}

func (t *file) open(path string, size int64) error {
	var err error
	if t.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	t.writeAt = t.f.WriteAt
	fi, err := t.f.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return &os.PathError{Op: "open", Path: path, Err: fmt.Errorf("not a regular file (%v)", fi.Mode().Type())}
	}
	want := min(max((size-filePage)/fileRegions/filePage, 1)*filePage, maxRegion)
	var head [filePage]byte
	if _, err := t.f.ReadAt(head[:], 0); err != nil || !readFileHead(head[:], &t.size) || 2*t.size > size-filePage {
		t.size = want
		if err := t.f.Truncate(0); err != nil {
			return err
		}
		putFileHead(head[:], t.size)
		if _, err := t.f.WriteAt(head[:], 0); err != nil {
			return err
		}
	}
	n := (size - filePage) / t.size
	if fi, err = t.f.Stat(); err != nil {
		return err
	}
	if whole := filePage + n*t.size; fi.Size() != whole { // new, or Options.FileBytes has changed
		if err := t.f.Truncate(whole); err != nil {
			return err
		}
	}
	if t.m, err = mem.Map(path); err != nil {
		return err
	}
	if t.data = t.m.Bytes(); int64(len(t.data)) < filePage+n*t.size {
		return &os.PathError{Op: "map", Path: path, Err: fmt.Errorf("%d bytes of %d", len(t.data), filePage+n*t.size)}
	}
	t.regions = make([]region, n)
	return guard(t.scan)
}

func putFileHead(b []byte, region int64) {
	clear(b)
	copy(b, fileMagic)
	binary.LittleEndian.PutUint32(b[16:], fileVersion)
	binary.LittleEndian.PutUint64(b[24:], uint64(region))
	binary.LittleEndian.PutUint32(b[32:], crc32.Checksum(b[:32], castagnoli))
}

func readFileHead(b []byte, region *int64) bool {
	if !bytes.HasPrefix(b, []byte(fileMagic)) || binary.LittleEndian.Uint32(b[16:]) != fileVersion ||
		binary.LittleEndian.Uint32(b[32:]) != crc32.Checksum(b[:32], castagnoli) {
		return false
	}
	*region = int64(binary.LittleEndian.Uint64(b[24:]))
	return *region >= filePage && *region <= maxRegion && *region%filePage == 0
}

// guard runs what reads the mapping. A fault there (the file was truncated, the disk fails) is an error, not the
// process's end.
func guard(f func()) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(interface{ Addr() uintptr })
			if !ok {
				panic(r) //lint:allow panic: passes on what is no memory fault
			}
			err = fmt.Errorf("reading the mapped file: fault at address %#x", fault.Addr())
		}
	}()
	f()
	return nil
}

// scan finds the records of all regions.
func (t *file) scan() {
	for i := range t.regions {
		r := &t.regions[i]
		start := t.start(i)
		for r.end+headerBytes <= t.size {
			h, ok := parseHeader(t.data[start+r.end : start+r.end+headerBytes])
			next := r.end + recordBytes(h.length)
			if !ok || r.epoch != 0 && h.epoch != r.epoch || h.epoch == 0 || next > t.size {
				break
			}
			r.epoch = h.epoch
			t.enter(h.key, spot{i, start + r.end, h.length, h.written})
			r.end = next
		}
		r.used = uint64(r.epoch)
		t.tick = max(t.tick, r.used)
		if r.epoch > t.epoch {
			t.epoch, t.active = r.epoch, i
		}
	}
}

func recordBytes(length int) int64 {
	return (int64(headerBytes+length) + recordAlignment - 1) / recordAlignment * recordAlignment
}

func (t *file) start(region int) int64 { return filePage + int64(region)*t.size }

// enter puts a record into the index. Of two records of one key the later epoch counts.
func (t *file) enter(key Key, s spot) {
	if old, ok := t.index[key]; ok {
		if t.regions[old.region].epoch > t.regions[s.region].epoch {
			return
		}
		t.bytes -= recordBytes(old.length)
	}
	t.index[key] = s
	t.bytes += recordBytes(s.length)
	t.regions[s.region].keys = append(t.regions[s.region].keys, key)
}

func (t *file) forget(key Key, s spot) {
	if now, ok := t.index[key]; ok && now == s {
		delete(t.index, key)
		t.bytes -= recordBytes(s.length)
	}
}

func (t *file) has(key Key, since int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.index[key]
	return ok && s.written >= since && t.data != nil
}

// read fills rec with the record of key, and reports whether it was there and whole.
func (t *file) read(key Key, rec []byte, since int64) (ok, damaged bool) {
	t.mu.Lock()
	s, ok := t.index[key]
	if !ok || s.written < since || s.length != len(rec)-headerBytes || t.data == nil {
		t.mu.Unlock()
		return false, false
	}
	r := &t.regions[s.region]
	r.readers++
	t.tick++
	r.used = t.tick
	data := t.data
	t.mu.Unlock()
	whole := false
	err := guard(func() {
		copy(rec, data[s.off:s.off+int64(len(rec))])
		_, whole = intact(rec, key)
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	r.readers--
	if err != nil || !whole {
		t.forget(key, s)
		t.damaged++
		return false, true
	}
	t.hits++
	return true, false
}

// errNoRegion says that readers use all regions; the record is not written.
var errNoRegion = errors.New("kvcache: all regions of the file are being read")

// write appends a sealed record, unless there is one of its key that is as recent. Only one goroutine writes.
func (t *file) write(rec []byte) error {
	h, ok := parseHeader(rec)
	if !ok {
		return fmt.Errorf("%w: a record without a header", ErrInvalid)
	}
	t.mu.Lock()
	if s, ok := t.index[h.key]; ok && s.written >= h.written || t.lost != nil || t.data == nil {
		err := t.lost
		t.mu.Unlock()
		return err
	}
	n := recordBytes(h.length)
	r := &t.regions[t.active]
	if r.epoch == 0 || r.end+n > t.size {
		if !t.turn() {
			t.mu.Unlock()
			return errNoRegion
		}
		r = &t.regions[t.active]
	}
	at := t.active
	off := t.start(at) + r.end
	anew := r.end == 0
	h.epoch = r.epoch
	t.mu.Unlock()

	var head [headerBytes]byte
	var err error
	if anew {
		_, err = t.writeAt(head[:], off)
	}
	if err == nil {
		_, err = t.writeAt(rec[headerBytes:], off+headerBytes)
	}
	if err == nil {
		h.put(head[:])
		_, err = t.writeAt(head[:], off)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.lost = err
		return err
	}
	r.end += n
	t.written++
	t.tick++
	r.used = t.tick
	t.enter(h.key, spot{at, off, h.length, h.written})
	return nil
}

func (t *file) usable() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost == nil
}

// lose reports, once, that writing has failed.
func (t *file) lose() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.lost != nil && !t.told
	t.told = t.told || first
	return first
}

// turn makes the region that was not used for longest the active one, empty and of a new epoch.
func (t *file) turn() bool {
	best := -1
	for i := range t.regions {
		if r := &t.regions[i]; i != t.active && r.readers == 0 && (best < 0 || r.used < t.regions[best].used) {
			best = i
		}
	}
	if t.epoch == 0 {
		best = t.active
	}
	if best < 0 {
		return false
	}
	r := &t.regions[best]
	for _, k := range r.keys {
		if s, ok := t.index[k]; ok && s.region == best {
			t.forget(k, s)
		}
	}
	t.epoch++
	t.tick++
	*r = region{epoch: t.epoch, used: t.tick, keys: r.keys[:0]}
	t.active = best
	return true
}

// largest returns the most bytes that a block may have.
func (t *file) largest() int64 { return t.size - headerBytes }

func (t *file) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	t.data = nil
	if t.m != nil {
		errs = append(errs, t.m.Close())
	}
	if t.f != nil {
		errs = append(errs, t.f.Close())
	}
	return errors.Join(append(errs, t.lock.Close())...)
}
