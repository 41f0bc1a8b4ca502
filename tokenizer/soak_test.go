package tokenizer

import (
	"bytes"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/krserve/krserve/internal/testenv"
)

var (
	soakBytes  = flag.Int64("soak", 0, "bytes of text per tokenizer in TestSoak; 0 = a slice of a few seconds")
	soakCorpus = flag.String("corpus", "", "folder of text files for TestSoak; empty = what the machine has installed")
	soakOnly   = flag.String("only", "", "names of tokenizers for TestSoak, comma-separated; empty = all")
)

// corpusChunks calls f with pieces of text of many sizes, taken from all files in turn, until it returns false or the files end.
func corpusChunks(r *rand.Rand, files []string, f func(chunk []byte) bool) {
	type source struct{ b []byte }
	var open []source
	next := func() bool {
		for len(files) > 0 {
			b, err := os.ReadFile(files[0])
			files = files[1:]
			if err == nil && len(b) > 0 {
				open = append(open, source{b})
				return true
			}
		}
		return false
	}
	for {
		for len(open) < 20 && next() {
		}
		if len(open) == 0 {
			return
		}
		k := r.IntN(len(open))
		s := &open[k]
		n := min(len(s.b), 1<<(6+r.IntN(11))+r.IntN(1000)) // up to 65 KB and a bit, cut anywhere: half a character is invalid text
		if r.IntN(8) > 0 {
			for n < len(s.b) && !utf8.RuneStart(s.b[n]) {
				n++
			}
		}
		if !f(s.b[:n]) {
			return
		}
		if s.b = s.b[n:]; len(s.b) == 0 {
			open = slices.Delete(open, k, k+1)
		}
	}
}

// corpusFiles lists text files: the given folder, or the sources and documents that are installed.
func corpusFiles(tb testing.TB) []string {
	roots := []string{*soakCorpus}
	if *soakCorpus == "" {
		goroot, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			tb.Fatal(err)
		}
		roots = []string{filepath.Join(strings.TrimSpace(string(goroot)), "src"), "/usr/share/doc", "/usr/share/perl", "/usr/include", "/usr/lib/python3"}
	}
	var files []string
	for _, root := range roots {
		_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error { // what cannot be read is no corpus
			if err == nil && d.Type().IsRegular() {
				files = append(files, p)
			}
			return nil
		})
	}
	slices.Sort(files)
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	return files
}

// splices joins stretches of the goldens' texts, which are of many languages.
func splices(r *rand.Rand, texts []goldenCase, n int) []byte {
	var b []byte
	for len(b) < n {
		s := texts[r.IntN(len(texts))].Text
		i := r.IntN(len(s) + 1)
		b = append(b, s[i:i+r.IntN(len(s)+1-i)]...)
	}
	return b
}

// TestSoak compares with the reference over files, random Unicode, random bytes and splices of the goldens.
func TestSoak(t *testing.T) {
	budget := *soakBytes
	if budget == 0 {
		budget = 2 << 20
		if testing.Short() {
			budget = 128 << 10
		}
	}
	files := corpusFiles(t)
	texts := readGolden(t, goldenNames[0])
	for _, name := range goldenNames {
		if *soakOnly != "" && !slices.Contains(strings.Split(*soakOnly, ","), name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := testenv.Tokenizer(t, name)
			tok, err := OpenConfig(path, Config{Threads: 3, MinParallelBytes: 20 << 10})
			if err != nil {
				t.Fatal(err)
			}
			ref := startReference(t, path)
			start, done, count, bad := time.Now(), int64(0), 0, 0
			check := func(b []byte) bool {
				s := string(b)
				flags := uint32(0)
				if count++; count%16 == 0 && len(s) < 16<<10 {
					flags = askOffsets | askDecoded
				}
				done += int64(len(s))
				if !ref.compare(t, tok, s, flags) {
					bad++
				}
				return done < budget && bad < 10
			}
			r := rand.New(rand.NewPCG(3, uint64(len(name))))
			for i := 0; done < budget/20 && check([]byte(randomUnicode(r, tok, 1+r.IntN(400)<<(i%4)))); i++ {
				b := make([]byte, r.IntN(200))
				for i := range b {
					b[i] = byte(r.IntN(256))
				}
				if s := splices(r, texts, r.IntN(2000)); !check(b) || !check(s) || !check(bytes.Join([][]byte{s, b, s}, nil)) {
					break
				}
			}
			random := done
			if done < budget && bad == 0 {
				corpusChunks(r, files, check)
			}
			if done < budget && bad == 0 && *soakBytes > 0 {
				t.Errorf("the corpus has only %d of %d bytes", done, budget)
			}
			t.Logf("%d texts, %.1f MB, of them %.1f MB random, %d differences, %v", count, float64(done)/1e6, float64(random)/1e6, bad,
				time.Since(start).Round(time.Second))
		})
	}
}
