package tokenizer

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/testenv"
)

// compiledFiles lists the compiled files of a directory.
func compiledFiles(tb testing.TB, dir string) []string {
	tb.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range all {
		if !strings.HasSuffix(f, compiledSuffix) {
			tb.Errorf("%s is left behind", f)
		}
	}
	return all
}

// sameTokenizer compares two tokenizers in everything that they were made of.
func sameTokenizer(t *testing.T, got, want *Tokenizer) {
	t.Helper()
	if !reflect.DeepEqual(got.addedID, want.addedID) || !reflect.DeepEqual(got.addedByID, want.addedByID) || !reflect.DeepEqual(got.specials, want.specials) {
		t.Error("the added tokens differ")
	}
	if !reflect.DeepEqual(got.special, want.special) {
		t.Errorf("special %v, want %v", got.special, want.special)
	}
	if got.Size() != want.Size() || got.raw != want.raw || got.position != want.position || (got.fast == nil) != (want.fast == nil) {
		t.Error("sizes or kinds differ")
	}
	for id := range uint32(want.Size() + 1) {
		p := want.Piece(id)
		if got.Piece(id) != p || got.IsSpecial(id) != want.IsSpecial(id) {
			t.Fatalf("token %d is %q, want %q", id, got.Piece(id), p)
		}
		gid, gok := got.TokenID(p)
		if wid, wok := want.TokenID(p); gid != wid || gok != wok {
			t.Fatalf("%q is token %d, want %d", p, gid, wid)
		}
	}
	if (got.template == nil) != (want.template == nil) || got.template != nil && (!slices.Equal(got.template.Names(), want.template.Names()) ||
		!reflect.DeepEqual(got.template.Special(), want.template.Special())) || got.ChatTemplateSource() != want.ChatTemplateSource() {
		t.Error("the chat templates differ")
	}
}

// sameAnswers compares what two tokenizers say about texts, by every way of encoding.
func sameAnswers(t *testing.T, got, want *Tokenizer, texts []string) {
	t.Helper()
	for i, text := range texts {
		ids := want.Encode(text)
		if g := got.Encode(text); !slices.Equal(g, ids) {
			t.Fatalf("%.80q: %v, want %v", text, g, ids)
		}
		if got.Decode(ids) != want.Decode(ids) || got.Count(text) != want.Count(text) {
			t.Fatalf("%.80q is decoded or counted otherwise", text)
		}
		o := Options{AddSpecial: i&1 == 0, Special: SpecialMode(i % 3), Offsets: OffsetUnit(1 + i&1), Truncate: &Truncation{Max: 9, Stride: 2, Left: i&2 == 0}}
		g, gerr := got.EncodePair(text, texts[(i+1)%len(texts)], o)
		w, werr := want.EncodePair(text, texts[(i+1)%len(texts)], o)
		if !reflect.DeepEqual(g, w) || !reflect.DeepEqual(gerr, werr) {
			t.Fatalf("%.80q: %+v %v, want %+v %v", text, g, gerr, w, werr)
		}
	}
}

// openTwice opens a file by way of the source and by way of what that compiled.
func openTwice(t *testing.T, path string) (source, compiled *Tokenizer) {
	t.Helper()
	dir := t.TempDir()
	source, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenConfig(path, Config{CacheDir: dir}); err != nil {
		t.Fatal(err)
	}
	if n := len(compiledFiles(t, dir)); n != 1 {
		t.Fatalf("%d compiled files", n)
	}
	if compiled = loadOnly(t, path, dir); compiled == nil {
		t.Fatal("what was compiled is not taken")
	}
	return source, compiled
}

// loadOnly opens what is compiled, and nothing else.
func loadOnly(t *testing.T, path, dir string) *Tokenizer {
	t.Helper()
	src, err := openSource(path, Config{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	return src.compiled()
}

// A compiled tokenizer is equal to the one of its source, for real tokenizers and GGUF files.
func TestCompiledReal(t *testing.T) {
	paths := map[string]string{"smollm2.gguf": testenv.SmolLM2(t), "gemma3.gguf": testenv.Gemma3(t)}
	for _, name := range goldenNames {
		if !testing.Short() || name == "qwen3" || name == "llama2" { // the GGUF files are of the other kinds
			paths[name] = testenv.Tokenizer(t, name)
		}
	}
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			want, got := openTwice(t, path)
			sameTokenizer(t, got, want)
			golden := strings.TrimSuffix(name, ".gguf")
			var texts []string
			for i, c := range readGolden(t, golden) {
				if i%5 == 0 && len(c.Text) < 2000 {
					texts = append(texts, c.Text)
				}
			}
			sameAnswers(t, got, want, texts)
		})
	}
}

// The same for every kind of model, with what the trained tokenizers use.
func TestCompiledTrained(t *testing.T) {
	names, cases := readTrained(t)
	n := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".model") {
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokenizer.json")
			if err := os.WriteFile(path, gunzip(t, filepath.Join("testdata", "trained", name+".gz")), 0o600); err != nil {
				t.Fatal(err)
			}
			want, got := openTwice(t, path)
			sameTokenizer(t, got, want)
			var texts []string
			for i, c := range cases[name] {
				if i%4 == 0 {
					texts = append(texts, c.Text)
				}
			}
			sameAnswers(t, got, want, texts)
		})
	}
	if n < 20 {
		t.Errorf("%d trained tokenizers", n)
	}
}

// smallSource writes a small tokenizer.json; variant changes its contents but not its size.
func smallSource(t *testing.T, dir string, variant byte) string {
	t.Helper()
	path := filepath.Join(dir, "tokenizer.json")
	pad := strings.Repeat(" ", 3*sampleBytes) // what differs is in none of the samples
	text := `{"added_tokens":[{"id":0,"content":"<s>","special":true}],` + pad +
		`"model":{"type":"WordLevel","unk_token":"<unk>","vocab":{"<unk>":1,"word":` + string(variant) + `}}` + pad + `}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func wordID(t *testing.T, path, dir string) uint32 {
	t.Helper()
	tok, err := OpenConfig(path, Config{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return tok.Encode("word")[0]
}

// A source that changed never gives the old tokenizer, not even with its size, ends and times as they were; and it is compiled again.
func TestCompiledStale(t *testing.T) {
	dir, at := t.TempDir(), t.TempDir()
	for _, v := range []byte("27273") {
		path := smallSource(t, at, v)
		if err := os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got := wordID(t, path, dir); got != uint32(v-'0') {
				t.Fatalf("word is %d, want %c", got, v)
			}
		}
		if loadOnly(t, path, dir) == nil {
			t.Fatal("not compiled again")
		}
		if n := len(compiledFiles(t, dir)); n != 1 {
			t.Fatalf("%d compiled files", n)
		}
	}
	// What stands beside it counts as well.
	path := smallSource(t, at, '2')
	wordID(t, path, dir)
	if err := os.WriteFile(filepath.Join(at, "tokenizer_config.json"), []byte(`{"eos_token": "word"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		tok, err := OpenConfig(path, Config{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := tok.EOS(); !ok || id != 2 {
			t.Fatalf("end token %d %v", id, ok)
		}
	}
	// The path does not: a copy elsewhere loads what the first one compiled.
	if loadOnly(t, smallSource(t, t.TempDir(), '2'), dir) == nil {
		t.Error("a copy of the source is compiled again")
	}
}

// A damaged file is as good as none, wherever the damage is, and is replaced.
func TestCompiledDamaged(t *testing.T) {
	dir := t.TempDir()
	path := smallSource(t, t.TempDir(), '2')
	wordID(t, path, dir)
	file := compiledFiles(t, dir)[0]
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	src, err := openSource(path, Config{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	if src.load(good) == nil {
		t.Fatal("what is good is not taken")
	}
	for i := 0; i < len(good); i += 1 + i/compiledHeaderBytes*31 { // every byte of the header, and more
		b := bytes.Clone(good)
		b[i] ^= 1 << (i & 7)
		if src.load(b) != nil {
			t.Fatalf("a flipped bit in byte %d is trusted", i)
		}
	}
	damage := func(what string, b []byte) {
		t.Helper()
		os.Remove(file)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if loadOnly(t, path, dir) != nil {
			t.Fatalf("%s is trusted", what)
		}
	}
	for _, n := range []int{0, 1, compiledHeaderBytes - 1, compiledHeaderBytes, len(good) / 2, len(good) - 1} {
		damage("a short file", good[:n])
	}
	damage("a long file", append(bytes.Clone(good), 0))
	damage("zeros", make([]byte, len(good)))
	if got := wordID(t, path, dir); got != 2 {
		t.Errorf("word is %d", got)
	}
	if loadOnly(t, path, dir) == nil {
		t.Error("the damaged file is not replaced")
	}
	// What is in the way is no error either.
	os.Remove(file)
	if err := os.MkdirAll(filepath.Join(file, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := wordID(t, path, dir); got != 2 {
		t.Errorf("word is %d", got)
	}
	compiledFiles(t, dir)
}

// A directory that cannot be used is no error.
func TestCompiledNowhere(t *testing.T) {
	path := smallSource(t, t.TempDir(), '2')
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/krserve", "\x00"} {
		if got := wordID(t, path, dir); got != 2 {
			t.Errorf("%q: word is %d", dir, got)
		}
	}
	dir := filepath.Join(t.TempDir(), "a", "b")
	if wordID(t, path, dir); len(compiledFiles(t, dir)) != 1 {
		t.Error("the directory is not made")
	}
	if _, err := OpenConfig(filepath.Join(dir, "none"), Config{CacheDir: dir}); err == nil {
		t.Error("a source that is not there")
	}
}

// Many at once, some of them with a source of another content, take each their own.
func TestCompiledAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wait sync.WaitGroup
	for i := range 12 {
		at := t.TempDir()
		wait.Go(func() {
			for k := range 4 {
				v := "29"[(i+k)&1]
				if got := wordID(t, smallSource(t, at, v), dir); got != uint32(v-'0') {
					t.Errorf("word is %d, want %c", got, v)
				}
			}
		})
	}
	wait.Wait()
	if n := len(compiledFiles(t, dir)); n != 1 {
		t.Errorf("%d compiled files", n)
	}
}

// What a process left that ended while it wrote goes, and so do the oldest files of many.
func TestCompiledSweep(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	put := func(name string, age time.Duration) {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	put(compiledPrefix+"1.tmp", 2*time.Hour)
	put(compiledPrefix+"2.tmp", time.Minute)
	put("other.tmp", 2*time.Hour)
	for i := range compiledMost + 3 {
		put(compiledPrefix+string(rune('A'+i))+compiledSuffix, time.Duration(i)*time.Hour)
	}
	sweepCompiled(dir, now)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != compiledMost+2 || slices.Contains(left, filepath.Join(dir, compiledPrefix+"1.tmp")) ||
		slices.Contains(left, filepath.Join(dir, compiledPrefix+string(rune('A'+compiledMost))+compiledSuffix)) {
		t.Errorf("left: %v", left)
	}
}
