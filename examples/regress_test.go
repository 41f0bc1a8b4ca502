package examples

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRegressGate: in a Go project with a history, a commit that makes a benchmark slower fails the gate, one that does not
// passes.
func TestRegressGate(t *testing.T) {
	gate, err := filepath.Abs("regress/gate.sh")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "krserve")
	output(t, "", "", "go", "build", "-o", bin, "../cmd/krserve")
	dir := t.TempDir()
	do := func(name string, args ...string) (string, int) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "KRSERVE="+bin, "BENCHTIME=1ms", "GOFLAGS=-mod=mod", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@a", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@a")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	commit := func(loops int) {
		t.Helper()
		write("go.mod", "module p\n\ngo 1.24\n")
		write("sum/sum.go", fmt.Sprintf("package sum\n\nfunc Sum() (s int) {\n\tfor i := range %d {\n\t\ts += i * s\n\t}\n\treturn s\n}\n", loops))
		write("sum/sum_test.go", "package sum\n\nimport \"testing\"\n\nfunc BenchmarkSum(b *testing.B) {\n\tfor b.Loop() {\n\t\tSum()\n\t}\n}\n")
		for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"commit", "-q", "--allow-empty", "-m", "c"}} {
			if out, status := do("git", args...); status != 0 {
				t.Fatalf("git %s: %s", strings.Join(args, " "), out)
			}
		}
	}
	commit(3000)
	commit(3000)
	commit(30000)
	for base, want := range map[string]int{"HEAD~1": 3, "HEAD": 0, "nowhere": 1} {
		out, status := do(gate, base, ".", "./sum", "--", "-blocks", "8", "-html", "report.html")
		if status != want {
			t.Errorf("against %s: exit %d, want %d:\n%s", base, status, want, out)
		}
	}
	if page, err := os.ReadFile(filepath.Join(dir, "report.html")); err != nil || !strings.Contains(string(page), "<svg") {
		t.Errorf("no report: %v", err)
	}
	if out, _ := do("git", "worktree", "list"); strings.Count(out, "\n") != 1 {
		t.Errorf("a worktree is left behind:\n%s", out)
	}
}
