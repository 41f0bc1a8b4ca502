package tokenizer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/krserve/krserve/internal/testenv"
)

// imageOf is the image of a tokenizer.json or GGUF.
func imageOf(tb testing.TB, data []byte) []byte {
	tb.Helper()
	tok, err := ParseConfig(data, Config{CacheDir: "any"})
	if err != nil {
		tb.Fatal(err)
	}
	if !tok.compilable() {
		tb.Fatal("it cannot be compiled")
	}
	var b bytes.Buffer
	tok.image(&image{out: &b})
	return b.Bytes()
}

// smallImages are those of the trained tokenizers, by name in order.
func smallImages(tb testing.TB) (names []string, images [][]byte) {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "trained", "*.json.gz"))
	if err != nil || len(files) < 20 {
		tb.Fatal(files, err)
	}
	for _, f := range files {
		names, images = append(names, filepath.Base(f)), append(images, imageOf(tb, gunzip(tb, f)))
	}
	return names, images
}

// goldenImages is the hash of many images of one version.
const goldenImages = "2cedc83e0f0e18f0c4a0b7ab52a4e3db157c0d2ae830d115a4d0b76c78be12ae"

// Whoever changes what a table holds, or how it is written, must not read what was written before.
func TestImageVersion(t *testing.T) {
	h := sha256.New()
	_, images := smallImages(t)
	for _, name := range []string{"llama2", "smollm2"} {
		data, err := os.ReadFile(testenv.Tokenizer(t, name))
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, imageOf(t, data))
	}
	for _, b := range images {
		h.Write(b)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != goldenImages {
		t.Errorf("images changed: raise imageVersion, now %d, and set goldenImages to %q", imageVersion, got)
	}
}

// What is read and written again has the same bytes.
func TestImageRoundTrip(t *testing.T) {
	names, images := smallImages(t)
	for i, b := range images {
		tok := newTokenizer(Config{CacheDir: "any"})
		m := newImage(b)
		if tok.image(m); m.bad {
			t.Errorf("%s: its image is not read", names[i])
			continue
		}
		var again bytes.Buffer
		if tok.image(&image{out: &again}); !bytes.Equal(again.Bytes(), b) {
			t.Errorf("%s: written again, its image differs", names[i])
		}
	}
}

// FuzzImage: any bytes give nothing, or a tokenizer that works.
func FuzzImage(f *testing.F) {
	names, images := smallImages(f)
	for i, b := range images {
		if len(b) > 200<<10 && !strings.HasPrefix(names[i], "bytelevel.") {
			continue
		}
		f.Add(b, uint32(0), uint64(0))
		for k := range uint32(12) { // one number of the image is another
			f.Add(b, k*uint32(len(b))/12, uint64(1)<<(k*5)|uint64(k))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, at uint32, flip uint64) {
		b := slices.Concat(data, make([]byte, 8))[:len(data)] // of its own, and aligned
		for i := range 8 {
			if k := int(at)&^7 + i; k < len(b) {
				b[k] ^= byte(flip >> (8 * i))
			}
		}
		tok := newTokenizer(Config{})
		m := newImage(b)
		if tok.image(m); m.bad {
			return
		}
		text := "Hello <unk> wörld \xff 12\n\n中文 a b c" + string(data[:min(len(data), 64)])
		ids := tok.Encode(text)
		if !utf8.ValidString(tok.Decode(ids)) || tok.Count(text) != len(ids) {
			t.Error("it does not work")
		}
		if _, err := tok.EncodeFull(text, Options{Offsets: ByteOffsets, AddSpecial: true}); err != nil {
			t.Error(err)
		}
		for _, id := range ids[:min(len(ids), 9)] {
			tok.TokenID(tok.Piece(id))
		}
	})
}

// FuzzCompiled: of any bytes, only the file that was compiled is taken.
func FuzzCompiled(f *testing.F) {
	path := filepath.Join(f.TempDir(), "tokenizer.json")
	if err := os.WriteFile(path, gunzip(f, filepath.Join("testdata", "trained", "wordlevel.json.gz")), 0o600); err != nil {
		f.Fatal(err)
	}
	src, err := openSource(path, Config{CacheDir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	defer src.close()
	text, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	tok, err := ParseConfig(text, src.cfg)
	if err != nil {
		f.Fatal(err)
	}
	src.keep(tok, text)
	good, err := os.ReadFile(filepath.Join(src.cfg.CacheDir, src.name))
	if err != nil {
		f.Fatal(err)
	}
	if src.load(good) == nil {
		f.Fatal("what was compiled is not taken")
	}
	f.Add([]byte{})
	f.Add(good[:compiledHeaderBytes])
	f.Add(good)
	for _, i := range []int{0, 8, 16, 32, 48, 64, 72, 80, len(good) - 1} {
		b := bytes.Clone(good)
		b[i] ^= 0x40
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if src.load(data) != nil && !bytes.Equal(data, good) {
			t.Error("it is trusted")
		}
	})
}
