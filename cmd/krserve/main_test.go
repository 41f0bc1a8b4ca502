package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/testenv"
)

// krserveBin is the built command: these tests use it as scripts do.
var krserveBin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "krserve-test-")
	if err == nil {
		krserveBin = filepath.Join(dir, "krserve")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", krserveBin, ".").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building krserve:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// result is what a finished command leaves.
type result struct {
	out, err string
	status   int
}

// run runs the command with text on its standard input.
func run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, krserveBin, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{out.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// ok runs a command that must succeed quietly.
func ok(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := run(t, stdin, args...)
	if r.status != 0 || r.err != "" {
		t.Fatalf("krserve %s: status %d\n%s", strings.Join(args, " "), r.status, r.err)
	}
	return r.out
}

// lines decodes JSON lines.
func lines[T any](t *testing.T, out string) []T {
	t.Helper()
	var all []T
	for _, l := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		var v T
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatalf("%v in %.200q", err, l)
		}
		all = append(all, v)
	}
	return all
}

// golden decodes a committed file of JSON lines, gzipped or not.
func golden[T any](t *testing.T, elem ...string) []T {
	t.Helper()
	data, err := os.ReadFile(testenv.Golden(elem...))
	if err != nil {
		t.Fatal(err)
	}
	if z, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
		var b bytes.Buffer
		if _, err := b.ReadFrom(z); err != nil {
			t.Fatal(err)
		}
		data = b.Bytes()
	}
	return lines[T](t, string(data))
}

// jsonLine is one value as a line.
func jsonLine(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

func TestUsage(t *testing.T) {
	model := testenv.SmolLM2(t)
	for _, c := range []struct {
		args   string
		status int
		stderr string
	}{
		{"", 2, "usage: krserve COMMAND"},
		{"frobnicate", 2, `no command "frobnicate"`},
		{"help", 0, ""},
		{"--help", 0, ""},
		{"tokenize -h", 0, ""},
		{"version", 0, ""},
		{"tokenize", 2, "-tokenizer is missing"},
		{"tokenize -tokenizer x -nope", 2, "-nope"},
		{"tokenize -tokenizer x extra", 2, `"extra"`},
		{"tokenize -tokenizer x -special -decode", 2, "exclude"},
		{"tokenize --tokenizer /no/such/file", 1, "/no/such/file"},
		{"template -tokenizer /no/such/file", 1, "/no/such/file"},
		{"score", 2, "-model is missing"},
		{"score -model /no/such/file", 1, "/no/such/file"},
		{"score -model " + model + " -backend abacus", 1, "abacus"},
		{"bench", 2, "-model is missing"},
		{"bench -model x -parallel 1,x", 2, "-parallel"},
		{"bench -model x -gen 1", 2, "-gen"},
		{"bench multi-turn", 2, "-model is missing"},
		{"bench multi-turn -model x -users 0", 2, "-users"},
		{"bench multi-turn -model x -prompts y -turns 2", 2, "-turns"},
		{"bench multi-turn -model x -prompts /no/such/file", 1, "/no/such/file"},
		{"bench tokenizer", 2, "-tokenizer is missing"},
		{"bench tokenizer -tokenizer x", 2, "-file is missing"},
		{"run -model /no/such/file Hi", 1, "/no/such/file"},
		{"run -raw -system x Hi", 2, "-system"},
		{"run -temp warm Hi", 2, "-temp"},
		{"run -temp -1 -model " + model + " Hi", 1, "emperature"},
		{"run", 2, "prompt is empty"},
	} {
		r := run(t, "", strings.Fields(c.args)...)
		if r.status != c.status || !strings.Contains(r.err, c.stderr) {
			t.Errorf("krserve %s: status %d, stderr %q", c.args, r.status, r.err)
		}
		if c.status == 0 && r.out == "" || c.status != 0 && r.out != "" {
			t.Errorf("krserve %s: stdout %q", c.args, r.out)
		}
		if n := strings.Count(r.err, "\n"); c.status == 1 && n != 1 {
			t.Errorf("krserve %s: %d lines on stderr, want 1: %q", c.args, n, r.err)
		}
	}
}

func TestVersion(t *testing.T) {
	header, err := os.ReadFile(filepath.Join(testenv.Root(), "include", "krserve.h"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`#define KR_VERSION\s+"([^"]+)"`).FindSubmatch(header)
	if got := ok(t, "", "version"); got != "krserve "+string(m[1])+"\n" {
		t.Errorf("version %q, header %q", got, m[1])
	}
}

type tokenizerCase struct {
	Text        string   `json:"text"`
	IDs         []uint32 `json:"ids"`
	IDsSpecial  []uint32 `json:"ids_special"`
	Decoded     string   `json:"decoded"`
	DecodedSkip string   `json:"decoded_skip"`
	Error       string   `json:"error"`
}

func TestTokenize(t *testing.T) {
	cases := golden[tokenizerCase](t, "tokenizer", "qwen3.jsonl.gz")
	path := testenv.Tokenizer(t, "qwen3")
	var texts, ids, skips strings.Builder
	for _, c := range cases {
		texts.WriteString(jsonLine(t, map[string]any{"text": c.Text}))
		ids.WriteString(jsonLine(t, map[string]any{"ids": c.IDs}))
		skips.WriteString(jsonLine(t, map[string]any{"ids": c.IDs, "skip_special": true}))
	}
	plain := lines[tokenizerCase](t, ok(t, texts.String(), "tokenize", "-tokenizer", path))
	special := lines[tokenizerCase](t, ok(t, texts.String(), "tokenize", "--tokenizer="+filepath.Dir(path), "--special"))
	decoded := lines[tokenizerCase](t, ok(t, ids.String(), "tokenize", "-tokenizer", path, "-decode"))
	skipped := lines[tokenizerCase](t, ok(t, skips.String(), "tokenize", "-tokenizer", path, "-decode"))
	for i, c := range cases {
		if fmt.Sprint(plain[i].IDs) != fmt.Sprint(c.IDs) {
			t.Errorf("%.60q: ids %v, want %v", c.Text, plain[i].IDs, c.IDs)
		}
		if fmt.Sprint(special[i].IDs) != fmt.Sprint(c.IDsSpecial) {
			t.Errorf("%.60q: with specials %v, want %v", c.Text, special[i].IDs, c.IDsSpecial)
		}
		if decoded[i].Text != c.Decoded || skipped[i].Text != c.DecodedSkip {
			t.Errorf("%.60q: decoded %q, %q", c.Text, decoded[i].Text, skipped[i].Text)
		}
	}
}

// TestBadLines: every line is answered, in order, whatever is wrong with its neighbours.
func TestBadLines(t *testing.T) {
	path := testenv.SmolLM2(t)
	long := strings.Repeat("word ", 1<<20) // one line of 5 MB
	in := "{\"text\":\"a\"}\r\n\n[]\n{\"text\":\nnull\n{\"text\":null}\n{\"text\":7}\n{\"txt\":\"a\"}\n{\"text\":\"a\"} x\n\x00\xff\n" +
		jsonLine(t, map[string]string{"text": long}) + `{"text":"<|im_end|>"}`
	got := lines[tokenizerCase](t, ok(t, in, "tokenize", "-tokenizer", path))
	if len(got) != 12 {
		t.Fatalf("%d answers", len(got))
	}
	for i, g := range got {
		if good := i == 0 || i >= 10; good != (g.Error == "") || good != (g.IDs != nil) {
			t.Errorf("line %d: %+v", i+1, g)
		}
	}
	if len(got[10].IDs) < 1<<20 || len(got[11].IDs) != 1 {
		t.Errorf("long line: %d ids; special token: %v", len(got[10].IDs), got[11].IDs)
	}
	bad := "{\"ids\":[1,-1]}\n{\"ids\":[4294967296]}\n{\"ids\":\"x\"}\n{}\n{\"ids\":[]}\n{\"ids\":[4294967295]}\n"
	for i, g := range lines[tokenizerCase](t, ok(t, bad, "tokenize", "-tokenizer", path, "-decode")) {
		if (g.Error == "") != (i >= 4) || g.Text != "" {
			t.Errorf("decode line %d: %+v", i+1, g)
		}
	}
	if out := ok(t, "", "tokenize", "-tokenizer", path); out != "" {
		t.Errorf("no input gave %q", out)
	}
}

// TestDialogue: a program that waits for each answer before it writes on is never kept waiting, not even with half of
// the next line in the pipe.
func TestDialogue(t *testing.T) {
	cmd := exec.Command(krserveBin, "tokenize", "-tokenizer", testenv.SmolLM2(t))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer watchdog.Stop()
	r := bufio.NewReader(out)
	for i := range 5 {
		fmt.Fprintf(in, "\"text\":\"%d\"}\n{", i)
		if i == 0 {
			if l, err := r.ReadString('\n'); err != nil || !strings.Contains(l, "error") {
				t.Fatalf("answer %d: %q, %v", i, l, err)
			}
			continue
		}
		if l, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(l, `{"ids":[`) {
			t.Fatalf("answer %d: %q, %v", i, l, err)
		}
	}
	in.Close()
	if l, err := r.ReadString('\n'); err != nil || !strings.Contains(l, "error") {
		t.Errorf("the unfinished line: %q, %v", l, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// address is where an object of Python's happens to be.
var address = regexp.MustCompile("0x[0-9a-f]{8,}")

func TestTemplate(t *testing.T) {
	type templateCase struct {
		Rendered *string `json:"rendered"`
		Error    string  `json:"error"`
		UsesDate bool    `json:"uses_date"`
		Case     any     `json:"case"`
	}
	for _, file := range []string{"templates.jsonl.gz", "jinja-probes.jsonl"} {
		cases, raw := golden[templateCase](t, file), golden[json.RawMessage](t, file)
		var in strings.Builder
		for _, r := range raw {
			in.Write(append(r, '\n'))
		}
		for i, g := range lines[struct{ Text, Error string }](t, ok(t, in.String(), "template")) {
			c := cases[i]
			switch {
			case c.Rendered == nil && (g.Error == "" || !strings.HasPrefix(g.Error, c.Error)): // the goldens keep 160 characters
				t.Errorf("%s %v: error %q, want %q", file, c.Case, g.Error, c.Error)
			case c.Rendered != nil && !c.UsesDate && (g.Error != "" || address.ReplaceAllString(g.Text, "0x") != address.ReplaceAllString(*c.Rendered, "0x")):
				t.Errorf("%s %v: %q (error %q), want %q", file, c.Case, g.Text, g.Error, *c.Rendered)
			}
		}
	}
	in := `{"messages":[{"role":"user","content":"Hi"}],"add_generation_prompt":false}` + "\n{\"messages\":1}\n{}\n" +
		`{"messages":[{"role":"user","content":"Hi"}],"template":"{{ bos_token }}{{ x }}","kwargs":{"x":"<&>"},"bos_token":"B"}`
	got := lines[struct{ Text, Error string }](t, ok(t, in, "template", "-tokenizer", testenv.SmolLM2(t)))
	if !strings.Contains(got[0].Text, "<|im_start|>user\nHi<|im_end|>\n") || strings.Contains(got[0].Text, "assistant\n") {
		t.Errorf("the tokenizer's template: %+v", got[0])
	}
	if got[1].Error == "" || got[2].Error == "" || got[3].Text != "B<&>" {
		t.Errorf("answers: %+v", got[1:])
	}
}
