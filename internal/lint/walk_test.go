package lint

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

const module = "github.com/krserve/krserve"

// skipDirs hold nothing hand-written, or are modules of their own.
var skipDirs = map[string]bool{
	".git": true, ".testdata": true, "testdata": true, "dist": true, "bin": true, "build": true,
	"node_modules": true, "__pycache__": true, ".mypy_cache": true, ".pytest_cache": true, ".venv": true,
}

// A source is one text file of the repository.
type source struct {
	path string // slash-separated, relative to the root
	data []byte
	fset *token.FileSet
	file *ast.File // nil unless a .go file
}

// dir is the source's package folder; "." is the root package.
func (s *source) dir() string { return path.Dir(s.path) }
func (s *source) test() bool  { return strings.HasSuffix(s.path, "_test.go") }
func (s *source) lines() int  { return bytes.Count(s.data, []byte("\n")) }
func (s *source) isGo() bool  { return s.file != nil }
func (s *source) in(dirs ...string) bool {
	for _, d := range dirs {
		if s.path == d || strings.HasPrefix(s.path, d+"/") {
			return true
		}
	}
	return false
}

func (s *source) line(p token.Pos) int { return s.fset.Position(p).Line }

var generatedLine = regexp.MustCompile(`(?m)^(//|#|/\*) ?Code generated .* DO NOT EDIT\.`)

// generated follows the convention of `go help generate`, for every language with such comments.
func (s *source) generated() bool {
	head := s.data
	if len(head) > 2048 {
		head = head[:2048]
	}
	return generatedLine.Match(head)
}

// code lists the extensions of hand-written programs.
var code = map[string]bool{
	".go": true, ".c": true, ".h": true, ".s": true, ".S": true, ".m": true, ".metal": true, ".cu": true,
	".py": true, ".pyi": true, ".ts": true, ".js": true, ".mjs": true, ".sh": true,
}

var load = sync.OnceValues(func() ([]*source, error) {
	var out []*source
	root := testenv.Root()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != root && (skipDirs[d.Name()] || strings.HasSuffix(d.Name(), ".egg-info")) {
				return filepath.SkipDir
			}
			return nil
		}
		ext := filepath.Ext(p)
		if !d.Type().IsRegular() || !code[ext] && ext != ".md" && ext != ".yaml" && ext != ".yml" && ext != ".toml" && d.Name() != "Makefile" {
			return nil
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		s := &source{path: filepath.ToSlash(rel), data: data}
		if ext == ".go" {
			s.fset = token.NewFileSet()
			if s.file, err = parser.ParseFile(s.fset, p, data, parser.ParseComments|parser.SkipObjectResolution); err != nil {
				return err
			}
		}
		out = append(out, s)
		return nil
	})
	return out, err
})

// sources returns every hand-written text file, Go files parsed whatever their build tags.
func sources(t *testing.T) []*source {
	t.Helper()
	s, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if len(s) < 10 {
		t.Fatalf("only %d source files found below %s", len(s), testenv.Root())
	}
	return s
}
