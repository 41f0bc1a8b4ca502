// Package examples runs every example the way its comment says.
package examples

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
	"github.com/krserve/krserve/tokenizer"
)

const question = "What is the capital of Japan?"

// output runs a program and returns what it printed.
func output(t *testing.T, stdin, env, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if env != "" {
		cmd.Env = append(os.Environ(), env)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

func checkAnswer(t *testing.T, out string) {
	t.Helper()
	if !strings.Contains(out, "Tokyo") {
		t.Errorf("%q", out)
	}
}

func checkCount(t *testing.T, text, out string) {
	t.Helper()
	tok, err := tokenizer.Open(testenv.SmolLM2(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := strconv.Itoa(len(tok.Encode(text))); strings.TrimSpace(out) != want {
		t.Errorf("%q, want %s", out, want)
	}
}

const text = "Some text,\nin two lines: naïve 😀.\n"

// TestC compiles each example with nothing but the folder that `make libkrserve OUT=` fills, and strict warnings.
func TestC(t *testing.T) {
	lib := testenv.Library(t, "")
	dir := filepath.Dir(lib)
	build := func(name string) string {
		exe := filepath.Join(t.TempDir(), name)
		output(t, "", "", "cc", "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-I"+dir, "c/"+name+".c", "-o", exe,
			"-L"+dir, "-lkrserve", "-Wl,-rpath,"+dir)
		return exe
	}
	model := testenv.SmolLM2(t)
	checkAnswer(t, output(t, "", "", build("chat"), model, question))
	checkCount(t, text, output(t, text, "", build("tokenize"), model))
	sources, err := filepath.Glob("c/*.c")
	if err != nil || len(sources) != 2 {
		t.Errorf("%v, %v: an example without a test", sources, err)
	}
}

func TestGo(t *testing.T) {
	model := testenv.SmolLM2(t)
	checkAnswer(t, output(t, "", "", "go", "run", "./go/chat", model, question))
	checkCount(t, text, output(t, text, "", "go", "run", "./go/tokenize", model))
}

// TestCanary: a rollout from a model to itself ends, whatever the machine does meanwhile.
func TestCanary(t *testing.T) {
	model := testenv.SmolLM2(t)
	if out := output(t, "", "", "go", "run", "./go/canary", model, model); !strings.Contains(out, "canary gets 100 %") || !strings.HasSuffix(out, "succeeded\n") {
		t.Errorf("%q", out)
	}
}

// TestABTest: without sampling a small model repeats itself, a difference that any machine finds.
func TestABTest(t *testing.T) {
	out := output(t, "", "", "go", "run", "./go/abtest", testenv.SmolLM2(t), "60")
	if !strings.HasPrefix(out, "sampler: 60 units") || !strings.Contains(out, "better") {
		t.Errorf("%s", out)
	}
}

func TestPython(t *testing.T) {
	python, model := testenv.Fetched(t, "venv", "bin", "python"), testenv.SmolLM2(t)
	// The package as pip would lay it out: modules, with the library among them.
	site := t.TempDir()
	if err := os.CopyFS(filepath.Join(site, "krserve"), os.DirFS("../bindings/python/src/krserve")); err != nil {
		t.Fatal(err)
	}
	lib := testenv.Library(t, "")
	data, err := os.ReadFile(lib)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(site, "krserve", filepath.Base(lib)), data, 0o755); err != nil {
		t.Fatal(err)
	}
	env := "PYTHONPATH=" + site
	checkAnswer(t, output(t, "", env, python, "python/chat.py", model, question))
	if out := output(t, "", env, python, "python/threads.py", model, question, "What is two plus two?"); strings.Count(out, "\n  ") != 2 || !strings.Contains(out, "Tokyo") {
		t.Errorf("%q", out)
	}
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := output(t, "", env, python, "python/tokenize_arrays.py", model, file); !strings.HasPrefix(out, "2 lines, ") {
		t.Errorf("%q", out)
	}
}
