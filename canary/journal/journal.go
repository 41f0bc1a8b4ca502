// Package journal makes a rollout's decisions and evidence durable: an append-only file of checksummed records, each
// on disk before Append returns.
//
// A process that is killed at any byte loses at most the record that it was writing, which Append had not acknowledged.
// One process at a time may hold a journal.
package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/krserve/krserve/canary"
)

// Sentinel errors, to be tested with errors.Is.
var (
	// ErrCorrupt is returned by Open for damage that a crash cannot explain; the text names the offset.
	ErrCorrupt = errors.New("canary/journal: corrupt journal")
	// ErrLocked is returned by Open while another process holds the journal.
	ErrLocked = errors.New("canary/journal: held by another process")
	// ErrClosed is returned after Close, and after a failed write, which leaves the file's end unknown.
	ErrClosed = errors.New("canary/journal: closed")
)

const (
	magic     = "krserve canary journal 1\n"
	maxRecord = 64 << 20
)

// compactAt is the file size beyond which all snapshots but the last are dropped.
var compactAt int64 = 8 << 20

var errClosedByCaller = fmt.Errorf("%w by Close", ErrClosed)

var table = crc32.MakeTable(crc32.Castagnoli)

// Record is one entry: a decision that was taken, or a snapshot of the whole rollout.
type Record struct {
	Time     time.Time        `json:"time"`
	Decision *canary.Decision `json:"decision,omitempty"`
	Snapshot *canary.Snapshot `json:"snapshot,omitempty"`
}

// Journal is an open journal. It is not safe for concurrent use.
type Journal struct {
	path      string
	f         *os.File
	lock      *flock.Flock
	size      int64
	decisions []Record // kept when the file is compacted
	err       error
}

// Recovered is what a journal held when it was opened.
type Recovered struct {
	Records []Record
	Torn    int64 // bytes of an unacknowledged record that were cut off the end
}

// Open opens or creates the journal at path.
func Open(path string) (*Journal, *Recovered, error) {
	lock := flock.New(path + ".lock")
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, nil, fmt.Errorf("canary/journal: open %s: %w", path, err)
	case !ok:
		return nil, nil, fmt.Errorf("%w: %s", ErrLocked, path)
	}
	j, rec, err := open(path, lock)
	if err != nil {
		lock.Unlock()
		return nil, nil, err
	}
	return j, rec, nil
}

func open(path string, lock *flock.Flock) (*Journal, *Recovered, error) {
	wrap := func(err error) error { return fmt.Errorf("canary/journal: open %s: %w", path, err) }
	data, err := os.ReadFile(path)
	fresh := errors.Is(err, os.ErrNotExist)
	if err != nil && !fresh {
		return nil, nil, wrap(err)
	}
	rec, end, err := parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%w (%s)", err, path)
	}
	if fresh || end < int64(len(magic)) {
		if err := rewrite(path, rec.Records); err != nil {
			return nil, nil, wrap(err)
		}
		rec.Torn, end = int64(len(data)), -1
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0o644)
	if err != nil {
		return nil, nil, wrap(err)
	}
	if end >= 0 && end < int64(len(data)) {
		rec.Torn = int64(len(data)) - end
		if err := errors.Join(f.Truncate(end), f.Sync()); err != nil {
			f.Close()
			return nil, nil, wrap(err)
		}
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, nil, wrap(err)
	}
	j := &Journal{path: path, f: f, lock: lock, size: size}
	for _, r := range rec.Records {
		if r.Decision != nil {
			j.decisions = append(j.decisions, r)
		}
	}
	return j, rec, nil
}

// parse reads all whole records and returns where they end. Bytes after that are a torn record, or corruption if a whole
// record follows them.
func parse(data []byte) (*Recovered, int64, error) {
	rec := &Recovered{}
	if len(data) < len(magic) {
		if !bytes.HasPrefix([]byte(magic), data) {
			return nil, 0, fmt.Errorf("%w: not a journal, at offset 0", ErrCorrupt)
		}
		return rec, 0, nil
	}
	if string(data[:len(magic)]) != magic {
		return nil, 0, fmt.Errorf("%w: not a journal, at offset 0", ErrCorrupt)
	}
	at := len(magic)
	for {
		rest := data[at:]
		body, ok := frame(rest)
		if !ok {
			// Only the last record can be torn. A whole one further on was acknowledged after this one.
			for i := 1; i < len(rest); i++ {
				if _, ok := frame(rest[i:]); ok {
					return nil, 0, fmt.Errorf("%w: record at offset %d, before a whole one at offset %d", ErrCorrupt, at, at+i)
				}
			}
			return rec, int64(at), nil
		}
		var r Record
		if err := json.Unmarshal(body, &r); err != nil {
			return nil, 0, fmt.Errorf("%w: record at offset %d: %v", ErrCorrupt, at, err)
		}
		rec.Records = append(rec.Records, r)
		at += header + len(body)
	}
}

// header is the size of what precedes each record's JSON: its length, its CRC-32C, and the CRC-32C of those two, which
// tells a length that was never written from one that was.
const header = 12

// frame returns the body of the record that data begins with, if it is whole.
func frame(data []byte) (body []byte, ok bool) {
	if len(data) < header || crc32.Checksum(data[:8], table) != binary.LittleEndian.Uint32(data[8:]) {
		return nil, false
	}
	n := int64(binary.LittleEndian.Uint32(data))
	if n == 0 || n > int64(len(data)-header) {
		return nil, false
	}
	body = data[header : header+n]
	return body, crc32.Checksum(body, table) == binary.LittleEndian.Uint32(data[4:])
}

// rewrite replaces the file atomically with all decisions and the last snapshot, which comes last.
func rewrite(path string, records []Record) error {
	buf := []byte(magic)
	var snap *Record
	for i, r := range records {
		if r.Snapshot != nil {
			snap = &records[i]
		}
	}
	for i, r := range records {
		if r.Snapshot != nil && &records[i] != snap {
			continue
		}
		b, err := encode(r)
		if err != nil {
			return err
		}
		buf = append(buf, b...)
	}
	// The lock makes the name ours; a crash leaves one such file, which the next rewrite replaces.
	tmp, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(buf)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable. Windows has no such call and does not need it.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrInvalid) {
		return err
	}
	return nil
}

func encode(r Record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if len(body) > maxRecord {
		return nil, fmt.Errorf("record of %d bytes exceeds %d", len(body), maxRecord)
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(body, table))
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, table))
	return append(out, body...), nil
}

// Append writes one record and returns once it is on disk. After an error the journal accepts nothing more.
func (j *Journal) Append(r Record) error {
	if j.err != nil {
		return j.err
	}
	b, err := encode(r)
	if err != nil {
		return fmt.Errorf("canary/journal: append: %w", err)
	}
	if r.Decision != nil {
		j.decisions = append(j.decisions, r)
	}
	if r.Snapshot != nil && j.size+int64(len(b)) > compactAt && j.size > 2*int64(len(b)) {
		err = j.compact(r)
	} else if _, err = j.f.Write(b); err == nil {
		j.size += int64(len(b))
		err = j.f.Sync()
	}
	if err != nil {
		j.err = fmt.Errorf("%w: a write failed: %w", ErrClosed, err)
		return j.err
	}
	return nil
}

// compact replaces the file with all decisions and the snapshot.
func (j *Journal) compact(snapshot Record) error {
	if err := j.f.Close(); err != nil {
		return err
	}
	if err := rewrite(j.path, append(j.decisions[:len(j.decisions):len(j.decisions)], snapshot)); err != nil {
		return err
	}
	f, err := os.OpenFile(j.path, os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	j.f = f
	j.size, err = f.Seek(0, io.SeekEnd)
	return err
}

// Close releases the journal. It is idempotent.
func (j *Journal) Close() error {
	if errors.Is(j.err, errClosedByCaller) {
		return nil
	}
	err := j.f.Close()
	if j.err != nil {
		err = nil // the failed write was reported already, and may have left the file closed
	}
	j.err = errClosedByCaller
	return errors.Join(err, j.lock.Unlock())
}

// Rebuild returns the rollout that a journal describes, or a new one if it is empty: the last snapshot, moved to where
// the last decision after it went.
func Rebuild(p canary.Policy, rec *Recovered, now time.Time) (*canary.Controller, error) {
	var c *canary.Controller
	var err error
	var snap *canary.Snapshot
	var tail []canary.Decision
	for _, r := range rec.Records {
		if r.Snapshot != nil {
			snap, tail = r.Snapshot, nil
		}
		if r.Decision != nil {
			tail = append(tail, *r.Decision)
		}
	}
	if snap != nil {
		c, err = canary.Restore(p, *snap)
	} else {
		c, err = canary.New(p, now)
	}
	if err != nil {
		return nil, err
	}
	for _, d := range tail {
		c.Apply(d)
	}
	return canary.Restore(p, c.Snapshot()) // what the tail led to has to be possible, too
}
