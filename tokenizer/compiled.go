package tokenizer

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/krserve/krserve/internal/mem"
)

// A compiled tokenizer is a file of a header and an image. Its name is drawn from samples of its source, and a keyed fingerprint in the
// header (GMAC, NIST SP 800-38D, under a random key) covers all of the source: the path does not matter, and no other source passes for
// it. A second fingerprint covers the image. A file that fails in anything is as good as none.

// imageVersion changes whenever an image would be read differently, or holds different bits for the same source; a test tells.
const imageVersion = 3

const (
	compiledMagic  = "krtokimg"
	compiledPrefix = "tokenizer-"
	compiledSuffix = ".image"
	compiledMost   = 32 // files in a directory; the oldest go
	sampleBytes    = 64 << 10
	macChunk       = 256 << 10
)

type tag [16]byte

// compiledHeader begins a file, in the machine's own byte order: on another, the version does not match.
type compiledHeader struct {
	magic    [8]byte
	version  uint64
	key      tag
	source   tag
	image    tag
	srcBytes uint64 // of the source's main file: up to the tensors of a GGUF, all of others
	imgBytes uint64
}

const compiledHeaderBytes = 80

func (h *compiledHeader) append(b []byte) []byte {
	b = append(b, h.magic[:]...)
	b = binary.NativeEndian.AppendUint64(b, h.version)
	b = append(append(append(b, h.key[:]...), h.source[:]...), h.image[:]...)
	b = binary.NativeEndian.AppendUint64(b, h.srcBytes)
	return binary.NativeEndian.AppendUint64(b, h.imgBytes)
}

func (h *compiledHeader) read(b []byte) bool {
	if len(b) < compiledHeaderBytes {
		return false
	}
	copy(h.magic[:], b)
	h.version = binary.NativeEndian.Uint64(b[8:])
	copy(h.key[:], b[16:])
	copy(h.source[:], b[32:])
	copy(h.image[:], b[48:])
	h.srcBytes, h.imgBytes = binary.NativeEndian.Uint64(b[64:]), binary.NativeEndian.Uint64(b[72:])
	return string(h.magic[:]) == compiledMagic && h.version == imageVersion && h.imgBytes == uint64(len(b)-compiledHeaderBytes)
}

// sourceFile is a file that a tokenizer is read from, and what stands beside it.
type sourceFile struct {
	cfg  Config
	file *os.File // nil when nothing is to be compiled
	size int64
	side *siblings // of a tokenizer.json
	name string    // of the compiled file
}

func openSource(path string, cfg Config) (*sourceFile, error) {
	s := &sourceFile{cfg: cfg}
	if filepath.Base(path) == "tokenizer.json" {
		var err error
		if s.side, err = readSiblings(filepath.Dir(path)); err != nil {
			return nil, err
		}
	}
	if cfg.CacheDir == "" {
		return s, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return s, f.Close() // reading it says what is wrong, if anything is
	}
	s.file, s.size = f, st.Size()
	if s.sample() != nil {
		return s, s.close()
	}
	return s, nil
}

func (s *sourceFile) close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}

// sample sets the name: a hash of the file's size and both its ends, and of all that stands beside it.
func (s *sourceFile) sample() error {
	h := sha256.New()
	var num [8]byte
	add := func(b []byte) {
		binary.LittleEndian.PutUint64(num[:], uint64(len(b)))
		h.Write(num[:])
		h.Write(b)
	}
	binary.LittleEndian.PutUint64(num[:], uint64(s.size))
	h.Write(num[:])
	buf := make([]byte, min(s.size, sampleBytes))
	for _, at := range []int64{0, s.size - int64(len(buf))} {
		if _, err := s.file.ReadAt(buf, at); err != nil {
			return err
		}
		add(buf)
	}
	if s.side != nil {
		for _, p := range s.side.parts() {
			add(p)
		}
	}
	s.name = compiledPrefix + hex.EncodeToString(h.Sum(nil)[:16]) + compiledSuffix
	return nil
}

// macPart is a stretch of bytes in memory, or of a file.
type macPart struct {
	mem  []byte
	file io.ReaderAt
	size int64
}

func memPart(b []byte) macPart { return macPart{mem: b, size: int64(len(b))} }

// macs fingerprints parts in chunks, on as many goroutines as call work.
type macs struct {
	gcm    cipher.AEAD
	jobs   []macJob
	next   atomic.Int64
	failed atomic.Bool
}

type macJob struct {
	part  *macPart
	at, n int64
	nonce [12]byte
	out   tag
}

// newMACs takes lists of parts, each of which has a fingerprint of its own.
func newMACs(key tag, lists ...[]macPart) (*macs, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	m := &macs{}
	if m.gcm, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	for l, parts := range lists {
		for i := range parts {
			for at := int64(0); at < parts[i].size || at == 0; at += macChunk {
				j := macJob{part: &parts[i], at: at, n: min(macChunk, parts[i].size-at)}
				j.nonce[0] = byte(l)
				binary.LittleEndian.PutUint32(j.nonce[2:], uint32(i))
				binary.LittleEndian.PutUint32(j.nonce[6:], uint32(at/macChunk))
				m.jobs = append(m.jobs, j)
			}
		}
	}
	return m, nil
}

// work does jobs until none is left.
func (m *macs) work() {
	var buf []byte
	var out [16]byte
	for {
		i := m.next.Add(1) - 1
		if i >= int64(len(m.jobs)) || m.failed.Load() {
			return
		}
		j := &m.jobs[i]
		chunk := j.part.mem
		if j.part.file == nil {
			chunk = chunk[j.at:][:j.n]
		} else {
			if buf == nil {
				buf = make([]byte, macChunk)
			}
			chunk = buf[:j.n]
			if _, err := j.part.file.ReadAt(chunk, j.at); err != nil {
				m.failed.Store(true)
				return
			}
		}
		copy(j.out[:], m.gcm.Seal(out[:0], j.nonce[:], nil, chunk))
	}
}

// sum gives the fingerprint of list l, when all work is done.
func (m *macs) sum(l int) (out tag) {
	var all []byte
	for i := range m.jobs {
		if j := &m.jobs[i]; int(j.nonce[0]) == l {
			all = binary.LittleEndian.AppendUint64(append(append(all, j.nonce[:]...), j.out[:]...), uint64(j.n))
		}
	}
	copy(out[:], m.gcm.Seal(nil, []byte{byte(l), 1, 11: 0}, nil, all))
	return out
}

const (
	macSource = iota
	macImage
)

// kept are the mappings that tokenizers refer to, by path and header. They stay: no call of a Tokenizer can outlive one.
var kept struct {
	sync.Mutex
	maps map[string]*mem.Mapping
}

// compiled loads what was compiled from the source; nil if there is nothing that holds good.
func (s *sourceFile) compiled() *Tokenizer {
	if s.file == nil {
		return nil
	}
	path := filepath.Join(s.cfg.CacheDir, s.name)
	m, err := mem.Map(path)
	if err != nil {
		return nil
	}
	id := path + "\x00" + string(m.Bytes()[:min(len(m.Bytes()), compiledHeaderBytes)])
	kept.Lock()
	old := kept.maps[id]
	kept.Unlock()
	if old != nil {
		m.Close()
		m = old
	}
	t := s.load(m.Bytes())
	switch {
	case t != nil && old == nil:
		kept.Lock()
		if kept.maps == nil {
			kept.maps = map[string]*mem.Mapping{}
		}
		// Of two that load at once, the later one's mapping is held by a name that no header has.
		for kept.maps[id] != nil {
			id += "\x00"
		}
		kept.maps[id] = m
		kept.Unlock()
	case t == nil && old == nil:
		m.Close()
	}
	return t
}

// load reads a compiled file; the tokenizer refers to data.
func (s *sourceFile) load(data []byte) *Tokenizer {
	var h compiledHeader
	if !h.read(data) || h.srcBytes > uint64(s.size) {
		return nil
	}
	body := data[compiledHeaderBytes:]
	mac, err := newMACs(h.key, []macPart{memPart([]byte(s.name)), {file: s.file, size: int64(h.srcBytes)}}, []macPart{memPart(body)})
	if err != nil {
		return nil
	}
	var wait sync.WaitGroup
	if runtime.GOMAXPROCS(0) > 1 {
		wait.Go(mac.work)
	}
	// What is read is safe whatever it is, so that it need not wait for the fingerprints.
	t := newTokenizer(s.cfg)
	m := newImage(body)
	t.image(m)
	t.made = nil
	if m.bad {
		mac.failed.Store(true)
	}
	mac.work()
	wait.Wait()
	if mac.failed.Load() || mac.sum(macSource) != h.source || mac.sum(macImage) != h.image {
		return nil
	}
	return t
}

// keep compiles a tokenizer that was read from main, if that can be; it is no error if it cannot.
func (s *sourceFile) keep(t *Tokenizer, main []byte) {
	if s.file == nil || main == nil || !t.compilable() {
		return
	}
	writeCompiled(s.cfg.CacheDir, s.name, func(f *os.File) error { return s.compile(t, main, f) })
	t.made = nil
}

// compile writes to an empty file. The image goes there as it is made and comes back for its fingerprint, so that memory never holds it.
func (s *sourceFile) compile(t *Tokenizer, main []byte, f *os.File) error {
	w := bufio.NewWriterSize(f, macChunk)
	_, _ = w.Write(make([]byte, compiledHeaderBytes)) // Flush tells
	m := image{out: w}
	t.image(&m)
	if err := w.Flush(); err != nil {
		return err
	}
	h := compiledHeader{version: imageVersion, srcBytes: uint64(len(main)), imgBytes: uint64(m.at)}
	copy(h.magic[:], compiledMagic)
	if _, err := rand.Read(h.key[:]); err != nil {
		return err
	}
	body := macPart{file: io.NewSectionReader(f, compiledHeaderBytes, int64(m.at)), size: int64(m.at)}
	mac, err := newMACs(h.key, []macPart{memPart([]byte(s.name)), memPart(main)}, []macPart{body})
	if err != nil {
		return err
	}
	if mac.work(); mac.failed.Load() {
		return io.ErrUnexpectedEOF
	}
	h.source, h.image = mac.sum(macSource), mac.sum(macImage)
	_, err = f.WriteAt(h.append(nil), 0)
	return err
}

// writeCompiled keeps a file in dir; it is no error if it cannot.
func writeCompiled(dir, name string, write func(*os.File) error) {
	_ = mem.Replace(filepath.Join(dir, name), compiledPrefix+"*.tmp", write)
	sweepCompiled(dir, time.Now())
}

// sweepCompiled removes what a process left that ended while it wrote, and the oldest files where there are too many.
func sweepCompiled(dir string, now time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	type file struct {
		name string
		time time.Time
	}
	var all []file
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !strings.HasPrefix(e.Name(), compiledPrefix) {
			continue
		}
		switch {
		case strings.HasSuffix(e.Name(), compiledSuffix):
			all = append(all, file{e.Name(), info.ModTime()})
		case strings.HasSuffix(e.Name(), ".tmp") && now.Sub(info.ModTime()) > time.Hour:
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	if len(all) <= compiledMost {
		return
	}
	slices.SortFunc(all, func(a, b file) int { return a.time.Compare(b.time) })
	for _, f := range all[:len(all)-compiledMost] {
		_ = os.Remove(filepath.Join(dir, f.name))
	}
}
