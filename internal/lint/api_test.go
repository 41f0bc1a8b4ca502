package lint

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/printer"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

var update = flag.Bool("update", false, "rewrite api/krserve.txt")

// rootBudget bounds the exported names of the root package: it stays one page of documentation.
const rootBudget = 40

// TestAPI compares the exported surface of every public package with api/krserve.txt, one line per name, field and method.
func TestAPI(t *testing.T) {
	lines := surface(t)
	names := 0
	for _, l := range lines {
		if strings.HasPrefix(l, "pkg krserve, ") && !strings.Contains(l, " method ") && !strings.Contains(l, " struct, ") && !strings.Contains(l, " interface, ") {
			names++
		}
	}
	if names > rootBudget {
		t.Errorf("the root package exports %d names, at most %d; mend: move what few users type to the package it belongs to", names, rootBudget)
	}
	got := strings.Join(lines, "\n") + "\n"
	file := filepath.Join(testenv.Root(), "api", "krserve.txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; mend: go test ./internal/lint -update", err)
	}
	old := strings.Split(strings.TrimSuffix(string(want), "\n"), "\n")
	for _, l := range minus(lines, old) {
		t.Errorf("new in the exported surface: %s", l)
	}
	for _, l := range minus(old, lines) {
		t.Errorf("gone from the exported surface: %s", l)
	}
	if t.Failed() {
		t.Log("mend: if the change is meant, `go test ./internal/lint -update`, read the diff of api/krserve.txt, note it in CHANGELOG.md")
	} else if got != string(want) {
		t.Error("api/krserve.txt is not in order; mend: go test ./internal/lint -update")
	}
}

func minus(a, b []string) []string {
	in := map[string]bool{}
	for _, s := range b {
		in[s] = true
	}
	var out []string
	for _, s := range a {
		if !in[s] {
			out = append(out, s)
		}
	}
	return out
}

// surface lists what linux/amd64 with cgo exports, sorted.
func surface(t *testing.T) []string {
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = "linux", "amd64", true
	var out []string
	for _, s := range sources(t) {
		if !s.isGo() || s.test() || !public(s.dir()) || s.file.Name.Name == "main" {
			continue
		}
		ok, err := ctx.MatchFile(filepath.Join(testenv.Root(), filepath.FromSlash(s.dir())), path.Base(s.path))
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			continue
		}
		pkg := "pkg " + path.Join("krserve", s.dir()) + ", "
		for _, d := range s.file.Decls {
			for _, l := range exported(d) {
				out = append(out, pkg+l)
			}
		}
	}
	sort.Strings(out)
	return out
}

// exported renders a declaration's public part, one line per name, field or method.
func exported(d ast.Decl) []string {
	var out []string
	switch d := d.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() {
			return nil
		}
		sig := strings.TrimPrefix(text(d.Type), "func")
		if d.Recv == nil {
			return []string{"func " + d.Name.Name + sig}
		}
		if ast.IsExported(receiver(d)) {
			return []string{"method (" + text(d.Recv.List[0].Type) + ") " + d.Name.Name + sig}
		}
	case *ast.GenDecl:
		var typ ast.Expr // of the run of constants that iota continues
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				if s.Type != nil || s.Values != nil {
					typ = s.Type
				}
				for i, n := range s.Names {
					if !n.IsExported() {
						continue
					}
					l := d.Tok.String() + " " + n.Name
					if typ != nil {
						l += " " + text(typ)
					}
					if d.Tok == token.CONST && i < len(s.Values) {
						l += " = " + text(s.Values[i])
					}
					out = append(out, l)
				}
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					out = append(out, typeLines(s)...)
				}
			}
		}
	}
	return out
}

func typeLines(s *ast.TypeSpec) []string {
	head := "type " + s.Name.Name
	if s.TypeParams != nil {
		var ps []string
		for _, f := range s.TypeParams.List {
			for _, n := range f.Names {
				ps = append(ps, n.Name+" "+text(f.Type))
			}
		}
		head += "[" + strings.Join(ps, ", ") + "]"
	}
	if s.Assign.IsValid() {
		return []string{head + " = " + text(s.Type)}
	}
	switch t := s.Type.(type) {
	case *ast.StructType:
		out := []string{head + " struct"}
		for _, f := range t.Fields.List {
			if len(f.Names) == 0 {
				out = append(out, head+" struct, embedded "+text(f.Type))
			}
			for _, n := range f.Names {
				if n.IsExported() {
					out = append(out, head+" struct, "+n.Name+" "+text(f.Type))
				}
			}
		}
		return out
	case *ast.InterfaceType:
		out := []string{head + " interface"}
		for _, f := range t.Methods.List {
			if len(f.Names) == 0 {
				out = append(out, head+" interface, embedded "+text(f.Type))
			}
			for _, n := range f.Names {
				out = append(out, head+" interface, "+n.Name+strings.TrimPrefix(text(f.Type), "func"))
			}
		}
		return out
	}
	return []string{head + " " + text(s.Type)}
}

// text prints a node on one line.
func text(n any) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, token.NewFileSet(), n); err != nil {
		return fmt.Sprintf("unprintable: %v", err)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
