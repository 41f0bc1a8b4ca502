package kvcache

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// child tells the child of TestKilled which file to write.
var child = flag.String("kv-child", "", "used by TestKilled")

func recordKey(i int) Key {
	return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i)))
}

// testRecord makes the i-th record: its bytes follow from its number.
func testRecord(i, length int) []byte {
	rec := make([]byte, headerBytes+length)
	r := rand.New(rand.NewPCG(uint64(i), 7))
	for j := range rec[headerBytes:] {
		rec[headerBytes+j] = byte(r.Uint32())
	}
	seal(rec, recordKey(i), time.Unix(1e9+int64(i), 0))
	return rec
}

func mustOpen(t testing.TB, path string, size int64) *file {
	t.Helper()
	f, err := openFile(path, size)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustClose(t testing.TB, f *file) {
	t.Helper()
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
}

// verify reads records 0 … n-1 and returns which are there; those must be whole.
func verify(t testing.TB, f *file, n, length int) map[int]bool {
	t.Helper()
	there := map[int]bool{}
	rec := make([]byte, headerBytes+length)
	for i := range n {
		ok, damaged := f.read(recordKey(i), rec, -1<<62)
		if damaged {
			t.Fatalf("record %d is damaged", i)
		}
		if ok {
			if !bytes.Equal(rec[headerBytes:], testRecord(i, length)[headerBytes:]) {
				t.Fatalf("record %d has other bytes", i)
			}
			there[i] = true
		}
	}
	return there
}

// TestKillAtAnyByte stops the writer after every single byte, across the border of a region that gives way, and opens
// what is left: all records before it are there, none is wrong, and writing goes on.
func TestKillAtAnyByte(t *testing.T) {
	const length, full, cut = 100, 700, 30
	dir := t.TempDir()
	path, again := filepath.Join(dir, "kv"), filepath.Join(dir, "again")
	f := mustOpen(t, path, minFile)
	for i := range full {
		if err := f.write(testRecord(i, length)); err != nil {
			t.Fatal(err)
		}
	}
	image := func() []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	held := func() []int {
		f.mu.Lock()
		defer f.mu.Unlock()
		var is []int
		for i := range full + cut {
			if _, ok := f.index[recordKey(i)]; ok {
				is = append(is, i)
			}
		}
		return is
	}
	cuts := 0
	for i := full; i < full+cut; i++ {
		before, had := image(), held()
		type change struct {
			at int64
			to byte
		}
		var order []change
		f.writeAt = func(b []byte, off int64) (int, error) {
			for j := range b {
				order = append(order, change{off + int64(j), b[j]})
			}
			return f.f.WriteAt(b, off)
		}
		if err := f.write(testRecord(i, length)); err != nil {
			t.Fatal(err)
		}
		after := image()
		want := slices.DeleteFunc(held(), func(x int) bool { return x == i })
		border := len(want) < len(had)
		if border && cuts == 0 {
			t.Fatal("the first cut should be inside a region")
		}
		for c, o := range order {
			if !border && c%3 != i%3 && c > 4 && c < len(order)-headerBytes-4 { // every byte of the header, every third of the data
				before[o.at] = o.to
				continue
			}
			cuts++
			if err := os.WriteFile(again, before, 0o600); err != nil {
				t.Fatal(err)
			}
			before[o.at] = o.to
			g := mustOpen(t, again, minFile)
			for _, x := range want {
				if _, ok := g.index[recordKey(x)]; !ok {
					t.Fatalf("killed before byte %d of record %d: record %d is lost", c, i, x)
				}
			}
			if border || c%40 == 0 || c >= len(order)-2 {
				verify(t, g, full+cut, length)
				for x := range 3 {
					if err := g.write(testRecord(5000+x, length)); err != nil {
						t.Fatal(err)
					}
				}
				mustClose(t, g)
				g = mustOpen(t, again, minFile)
				if got := verify(t, g, 5003, length); !got[5000] || !got[5001] || !got[5002] {
					t.Fatalf("killed before byte %d of record %d: what was written later is lost", c, i)
				}
			}
			mustClose(t, g)
		}
		if !bytes.Equal(before, after) {
			t.Fatal("a write changed more than its record")
		}
	}
	mustClose(t, f)
	t.Logf("%d cuts", cuts)
}

// fileOf returns the bytes of a file of the first n records.
func fileOf(t testing.TB, n, length int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kv")
	f := mustOpen(t, path, minFile)
	for i := range n {
		if err := f.write(testRecord(i, length)); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, f)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

// TestTornFile: a file that ends anywhere, or whose own header was torn while it was made, opens.
func TestTornFile(t *testing.T) {
	const length, n = 100, 60
	whole, again := fileOf(t, n, length), filepath.Join(t.TempDir(), "again")
	last := 0
	for c := 0; c <= filePage+n*256; c += 1 + c%61 {
		if err := os.WriteFile(again, whole[:c], 0o600); err != nil {
			t.Fatal(err)
		}
		g := mustOpen(t, again, minFile)
		// Headers whose data is cut off fail their sum when they are read.
		got := 0
		rec := make([]byte, headerBytes+length)
		for i := range n {
			if ok, _ := g.read(recordKey(i), rec, 0); ok {
				got++
			}
		}
		if got < last {
			t.Errorf("%d bytes hold %d records, fewer bytes held %d", c, got, last)
		}
		last = got
		if err := g.write(testRecord(n, length)); err != nil {
			t.Fatal(err)
		}
		if ok, _ := g.read(recordKey(n), rec, 0); !ok {
			t.Errorf("%d bytes: what is written now cannot be read", c)
		}
		mustClose(t, g)
	}
	if last != n {
		t.Errorf("the whole file holds %d of %d", last, n)
	}
}

// TestDamagedFile: no flipped bytes anywhere give another record's bytes.
func TestDamagedFile(t *testing.T) {
	const length, n = 100, 60
	whole, again := fileOf(t, n, length), filepath.Join(t.TempDir(), "again")
	r := rand.New(rand.NewPCG(3, 3))
	rec := make([]byte, headerBytes+length)
	for range 300 {
		b := slices.Clone(whole)
		for range 1 + r.IntN(40) {
			b[r.IntN(filePage+n*192)] ^= byte(1 << r.IntN(8))
		}
		if r.IntN(3) == 0 { // a whole record in another's place
			x, y := filePage+192*r.IntN(20), filePage+192*r.IntN(20)
			copy(b[x:x+192], whole[y:])
		}
		if err := os.WriteFile(again, b, 0o600); err != nil {
			t.Fatal(err)
		}
		g := mustOpen(t, again, minFile)
		for i := range n {
			if ok, _ := g.read(recordKey(i), rec, 0); ok && !bytes.Equal(rec[headerBytes:], testRecord(i, length)[headerBytes:]) {
				t.Fatalf("record %d has other bytes", i)
			}
		}
		mustClose(t, g)
	}
}

// TestTruncatedWhileOpen: another program cuts the file under the mapping; reading fails, the process lives.
func TestTruncatedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv")
	f := mustOpen(t, path, 64*filePage)
	for i := range 5 {
		if err := f.write(testRecord(i, 3*filePage)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(path, filePage); err != nil {
		t.Log(err) // systems that refuse need no more
		mustClose(t, f)
		return
	}
	rec := make([]byte, headerBytes+3*filePage)
	for i := range 5 {
		if ok, _ := f.read(recordKey(i), rec, 0); ok {
			t.Errorf("record %d of a cut file is there", i)
		}
	}
	mustClose(t, f)
}

// TestKilled kills a process that writes, again and again: what it said to have written is there, or has given way.
func TestKilled(t *testing.T) {
	const length, size = 5000, 400 * filePage
	if *child != "" {
		f := mustOpen(t, *child, size)
		for i := f.following(); ; i++ {
			if err := f.write(testRecord(i, length)); err != nil {
				t.Fatal(err)
			}
			fmt.Println(i)
		}
	}
	path := filepath.Join(t.TempDir(), "kv")
	r := rand.New(rand.NewPCG(9, 9))
	last := -1
	for round := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-kv-child="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + r.IntN(300) {
			if !lines.Scan() {
				t.Fatalf("the child ended: %v", lines.Err())
			}
			if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
		}
		_ = cmd.Process.Kill()
		for lines.Scan() { // what it said before it died
			_, _ = fmt.Sscan(lines.Text(), &last)
		}
		_ = cmd.Wait()
		f := mustOpen(t, path, size)
		there := verify(t, f, last+2, length)
		for i := max(0, last-50); i <= last; i++ {
			if !there[i] {
				t.Errorf("round %d: record %d of %d is lost", round, i, last)
			}
		}
		mustClose(t, f)
	}
}

// following returns a number above those of all records.
func (t *file) following() int {
	n := 0
	for _, s := range t.index {
		n = max(n, int(s.written-1e9)+1)
	}
	return n
}

func TestFileIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv")
	p, err := New(Options{File: path, FileBytes: minFile})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{File: path, FileBytes: minFile}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second pool: %v", err)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if p, err = New(Options{File: path, FileBytes: 2 * minFile}); err != nil { // larger
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{t.TempDir(), filepath.Join(path, "below"), filepath.Join(t.TempDir(), "no", "such", "folder")} {
		if p, err := New(Options{File: bad}); err == nil {
			t.Errorf("%s opens", bad)
			_ = p.Close()
		}
	}
}
