package journal

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/krserve/krserve/canary"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func decision(i int) Record {
	return Record{Time: epoch, Decision: &canary.Decision{Time: epoch, To: canary.State{Phase: canary.Progressing, Reason: strconv.Itoa(i)}}}
}

func snapshot(t testing.TB) Record {
	c, err := canary.New(canary.Policy{}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Snapshot()
	return Record{Time: epoch, Snapshot: &s}
}

func reasons(rec *Recovered) (out []string) {
	for _, r := range rec.Records {
		if r.Decision != nil {
			out = append(out, r.Decision.To.Reason)
		}
	}
	return out
}

// write makes a journal of five decisions and a snapshot and returns its bytes and where each record ends.
func write(t *testing.T) (data []byte, ends []int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "j")
	j, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		r := decision(i)
		if i == 3 {
			r = snapshot(t)
		}
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(j.size))
	}
	if err := errors.Join(j.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(decision(0)); !errors.Is(err, ErrClosed) {
		t.Errorf("append after Close: %v", err)
	}
	if data, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return data, ends
}

// TestTornAtEveryByte cuts the file at each length, also with zeros behind: what was acknowledged survives, and the
// journal goes on.
func TestTornAtEveryByte(t *testing.T) {
	data, ends := write(t)
	dir := t.TempDir()
	for n := 0; n <= len(data); n++ {
		whole := 0
		for whole < len(ends) && ends[whole] <= n {
			whole++
		}
		for _, zeros := range []int{0, 40} {
			rec, end, err := parse(append(data[:n:n], make([]byte, zeros)...))
			if n == 0 && zeros > 0 {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("zeros are no journal: %v", err)
				}
				continue
			}
			if n < len(magic) && zeros > 0 {
				continue
			}
			if err != nil || len(rec.Records) != whole {
				t.Fatalf("cut at %d with %d zeros: %v, %d records of %d", n, zeros, err, len(rec.Records), whole)
			}
			if want := int64(len(magic)); whole > 0 && end != int64(ends[whole-1]) || whole == 0 && n >= len(magic) && end != want {
				t.Fatalf("cut at %d: end %d", n, end)
			}
		}
		if n%17 != 0 && n != len(data) { // through the file system at some of them
			continue
		}
		path := filepath.Join(dir, strconv.Itoa(n))
		if err := os.WriteFile(path, data[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		j, rec, err := Open(path)
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if err := errors.Join(j.Append(decision(99)), j.Close()); err != nil {
			t.Fatal(err)
		}
		j, again, err := Open(path)
		if err != nil || len(again.Records) != len(rec.Records)+1 || again.Torn != 0 {
			t.Fatalf("cut at %d, then appended: %v, %d records after %d", n, err, len(again.Records), len(rec.Records))
		}
		j.Close()
	}
}

// TestCorruptMiddle flips every byte before the last record: all of it is damage that no crash explains.
func TestCorruptMiddle(t *testing.T) {
	data, ends := write(t)
	for i := range ends[len(ends)-2] {
		bad := append([]byte(nil), data...)
		bad[i] ^= 0x41
		start := 0
		for k := range ends {
			if ends[k] <= i {
				start = ends[k]
			}
		}
		if start == 0 && i >= len(magic) {
			start = len(magic)
		}
		_, _, err := parse(bad)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), fmt.Sprintf("offset %d", start)) {
			t.Fatalf("byte %d of the record at %d: %v", i, start, err)
		}
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(path); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	j.Close()
	j, _, err = Open(path)
	if err != nil {
		t.Fatalf("open after Close: %v", err)
	}
	j.Close()
}

func TestCompaction(t *testing.T) {
	old := compactAt
	compactAt = 20 << 10
	defer func() { compactAt = old }()
	path := filepath.Join(t.TempDir(), "j")
	j, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s := snapshot(t)
	var want []string
	for i := range 100 {
		if i%10 == 0 {
			if err := j.Append(decision(i)); err != nil {
				t.Fatal(err)
			}
			want = append(want, strconv.Itoa(i))
		}
		s.Snapshot.Requests[0] = int64(i)
		if err := j.Append(s); err != nil {
			t.Fatal(err)
		}
		if fi, _ := os.Stat(path); fi.Size() > 2*compactAt {
			t.Fatalf("%d bytes after %d snapshots", fi.Size(), i+1)
		}
	}
	j.Close()
	j, rec, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if got := reasons(rec); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("decisions %v, want %v", got, want)
	}
	if last := rec.Records[len(rec.Records)-1].Snapshot; last == nil || last.Requests[0] != 99 {
		t.Error("the last snapshot is not the last record")
	}
}

func TestRebuild(t *testing.T) {
	p := canary.Policy{}
	s := snapshot(t)
	s.Snapshot.Sessions[1] = canary.SampleSnapshot{Level: 3}
	d := decision(0)
	d.Decision.To.Stage = 1
	c, err := Rebuild(p, &Recovered{Records: []Record{decision(5), s, d}}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Snapshot(); got.State != d.Decision.To || got.Sessions[1].Level != 0 {
		t.Errorf("%+v with sessions of the stage before: %+v", got.State, got.Sessions)
	}
}

// TestRebuildRejects: a journal is continued only under the policy of its rollout.
func TestRebuildRejects(t *testing.T) {
	far := decision(0)
	far.Decision.To.Stage = 3
	for name, p := range map[string]canary.Policy{"salt": {Salt: "new model"}, "stages": {Stages: []canary.Stage{{Weight: 1}}}, "alpha": {Alpha: 0.02}} {
		if _, err := Rebuild(p, &Recovered{Records: []Record{snapshot(t), far}}, epoch); !errors.Is(err, canary.ErrState) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDiskFull: what does not fit is not acknowledged, nothing is accepted after it, and the file opens with all before it.
func TestDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		full, err = os.Open(os.Args[0]) // a file that takes no writes
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "j")
	j, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(decision(0)); err != nil {
		t.Fatal(err)
	}
	j.f.Close()
	j.f = full
	for range 2 {
		if err := j.Append(decision(1)); !errors.Is(err, ErrClosed) {
			t.Errorf("append: %v", err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	j, rec, err := Open(path)
	if err != nil || fmt.Sprint(reasons(rec)) != "[0]" {
		t.Fatalf("%v, %+v", err, rec)
	}
	j.Close()
}

// TestOpenFails: a path that cannot be a journal is an error that names it, and whatever stands there stays as it is.
func TestOpenFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(foreign, []byte("krserve canary journal 2\nnot ours"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, foreign, filepath.Join(dir, "no", "such"), filepath.Join(foreign, "below")} {
		if _, _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if data, _ := os.ReadFile(foreign); !strings.HasSuffix(string(data), "not ours") {
		t.Errorf("the foreign file is now %q", data)
	}
}

// TestKilled kills a process that appends without pause, again and again over one file: every decision that it had
// reported as acknowledged is there.
func TestKilled(t *testing.T) {
	if path := os.Getenv("KRSERVE_JOURNAL_CHILD"); path != "" {
		compactAt = 16 << 10
		j, rec, err := Open(path)
		if err != nil {
			fmt.Println("open:", err)
			os.Exit(1)
		}
		s := snapshot(t)
		for i := len(reasons(rec)); ; i++ {
			if err := errors.Join(j.Append(decision(i)), j.Append(s)); err != nil {
				fmt.Println("append:", err)
				os.Exit(1)
			}
			fmt.Println(i)
		}
	}
	path := filepath.Join(t.TempDir(), "j")
	acked := -1
	for round := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "KRSERVE_JOURNAL_CHILD="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			i, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatalf("child: %s", lines.Text())
			}
			acked = i
			if n == 3+5*round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		j, rec, err := Open(path)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		got := reasons(rec)
		j.Close()
		if len(got) < acked+1 || len(got) > acked+2 {
			t.Fatalf("round %d: %d decisions, %d acknowledged", round, len(got), acked+1)
		}
		for i, r := range got {
			if r != strconv.Itoa(i) {
				t.Fatalf("round %d: decision %d is %s", round, i, r)
			}
		}
	}
	if acked < 100 {
		t.Errorf("only %d decisions", acked+1)
	}
}
