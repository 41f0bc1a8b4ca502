package lint

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

var sequentialLine = regexp.MustCompile(`(?m)^SEQUENTIAL *= *(.*)$`)

// TestSequential: what the Makefile leaves out of the race detector's run as free of goroutines is free of them.
func TestSequential(t *testing.T) {
	mk, err := os.ReadFile(filepath.Join(testenv.Root(), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	m := sequentialLine.FindSubmatch(mk)
	if m == nil {
		t.Fatal("Makefile: no line SEQUENTIAL = …")
	}
	dirs, seen := strings.Fields(string(m[1])), map[string]bool{}
	for _, s := range sources(t) {
		for _, d := range dirs {
			if s.dir() == d {
				seen[d] = true
				checkSequential(s, t.Errorf)
			}
		}
	}
	for _, d := range dirs {
		if !seen[d] {
			t.Errorf("Makefile: SEQUENTIAL names %s, which has no sources", d)
		}
	}
}

func checkSequential(s *source, report report) {
	if !s.isGo() {
		return
	}
	const mend = "take the package off SEQUENTIAL in the Makefile, so that the race detector sees it"
	for _, spec := range s.file.Imports {
		switch p := strings.Trim(spec.Path.Value, `"`); p {
		case "sync", "sync/atomic", "golang.org/x/sync/errgroup":
			report("%s: imports %s; mend: %s", s.path, p, mend)
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report("%s:%d: starts a goroutine; mend: %s", s.path, s.line(n.Pos()), mend)
		case *ast.SelectorExpr:
			if n.Sel.Name == "Parallel" || n.Sel.Name == "RunParallel" {
				report("%s:%d: %s; mend: %s", s.path, s.line(n.Pos()), n.Sel.Name, mend)
			}
		}
		return true
	})
}
