//go:build cgo

package main

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

var update = flag.Bool("update", false, "rewrite include/krserve.symbols, include/krserve.abi and layout.c")

const mend = "; mend: if the change is meant and appends only, `CGO_CFLAGS=-DKR_RELAYOUT go test ./cmd/libkrserve -run ABI -update`, and note it in CHANGELOG.md under C ABI; otherwise take it back"

var includeDir = filepath.Join(testenv.Root(), "include")

// golden compares text with a committed file, or rewrites it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from the library%s\ngot:\n%s\nwant:\n%s", filepath.Base(file), mend, got, want)
	}
}

// TestABISymbols: the golden is what the header declares, and the library shows just that.
func TestABISymbols(t *testing.T) {
	declared := readHeader(t).functionNames()
	golden(t, filepath.Join(includeDir, "krserve.symbols"), strings.Join(declared, "\n")+"\n")
	if len(declared) > 40 {
		t.Errorf("%d functions, at most 40", len(declared))
	}
	for tags, want := range map[string][]string{"": declared, "krtest": append([]string{"kr_test_log", "kr_test_panic"}, declared...)} {
		out, err := exec.Command("nm", "-D", "--defined-only", library(t, tags)).CombinedOutput()
		if err != nil {
			t.Fatalf("nm: %v\n%s", err, out)
		}
		var names []string
		for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			f := strings.Fields(line)
			names = append(names, f[len(f)-1])
		}
		sort.Strings(names)
		sort.Strings(want)
		if strings.Join(names, " ") != strings.Join(want, " ") {
			t.Errorf("tags %q: exported %v\ndeclared %v", tags, names, want)
		}
	}
}

// header is what the published header declares.
type header struct {
	structs   []cstruct
	constants []string // enumerators and numeric macros
	functions []string // prototypes, on one line each
}

type cstruct struct {
	name   string
	fields []string
}

var (
	comment   = regexp.MustCompile(`(?s)/\*.*?\*/`)
	structDef = regexp.MustCompile(`(?s)typedef struct (\w+) \{(.*?)\} (\w+);`)
	enumDef   = regexp.MustCompile(`(?s)enum( \w+)? \{(.*?)\}`)
	prototype = regexp.MustCompile(`(?m)^KR_API ([^;]*);`)
	fieldName = regexp.MustCompile(`(\w+)(\[\w+\])?;`)
	funcName  = regexp.MustCompile(`(\w+)\(`)
)

func readHeader(t *testing.T) header {
	data, err := os.ReadFile(filepath.Join(includeDir, "krserve.h"))
	if err != nil {
		t.Fatal(err)
	}
	text := comment.ReplaceAllString(string(data), "")
	var h header
	for _, m := range structDef.FindAllStringSubmatch(text, -1) {
		s := cstruct{name: m[3]}
		for _, f := range fieldName.FindAllStringSubmatch(m[2], -1) {
			s.fields = append(s.fields, f[1])
		}
		h.structs = append(h.structs, s)
	}
	for _, m := range enumDef.FindAllStringSubmatch(text, -1) {
		for _, e := range strings.Split(m[2], ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(e), " ")
			h.constants = append(h.constants, name)
		}
	}
	h.constants = append(h.constants, "KR_VERSION_NUMBER", "KR_ABI_VERSION", "KR_NO_ID")
	for _, m := range prototype.FindAllStringSubmatch(text, -1) {
		h.functions = append(h.functions, strings.Join(strings.Fields(m[1]), " "))
	}
	if len(h.structs) < 11 || len(h.constants) < 39 || len(h.functions) < 24 {
		t.Fatalf("header read wrongly: %d structs, %d constants, %d functions", len(h.structs), len(h.constants), len(h.functions))
	}
	return h
}

func (h header) functionNames() []string {
	var out []string
	for _, f := range h.functions {
		out = append(out, funcName.FindStringSubmatch(f)[1])
	}
	sort.Strings(out)
	return out
}

// TestABILayout compiles a program that prints every size, offset and constant.
func TestABILayout(t *testing.T) {
	h := readHeader(t)
	var src strings.Builder
	src.WriteString("#include <krserve.h>\n#include <stdio.h>\nint main(void) {\n")
	for _, s := range h.structs {
		fmt.Fprintf(&src, "printf(\"struct %s size %%zu\\n\", sizeof(%s));\n", s.name, s.name)
		for _, f := range s.fields {
			fmt.Fprintf(&src, "printf(\"field %s.%s offset %%zu size %%zu\\n\", offsetof(%s, %s), sizeof(((%s *)0)->%s));\n", s.name, f, s.name, f, s.name, f)
		}
	}
	for _, c := range h.constants {
		fmt.Fprintf(&src, "printf(\"const %s %%lld\\n\", (long long)%s);\n", c, c)
	}
	src.WriteString("return 0; }\n")
	exe := compile(t, "cc", "layout.c", src.String(), "-std=c99")
	out, err := exec.Command(exe).Output()
	if err != nil {
		t.Fatal(err)
	}
	text := "# Sizes and offsets on 64-bit targets, values, prototypes. Lines may be added, never changed.\n" + string(out)
	for _, f := range h.functions {
		text += "func " + f + "\n"
	}
	golden(t, filepath.Join(includeDir, "krserve.abi"), text)
	golden(t, "layout.c", asserts(string(out)))
}

// asserts turns the printed layout into static assertions: a compiler that lays out otherwise does not build the library.
func asserts(layout string) string {
	var b strings.Builder
	b.WriteString("/* Code generated by `go test ./cmd/libkrserve -run ABI -update`. DO NOT EDIT.\n** A new layout is let through once, to be written down here, by CGO_CFLAGS=-DKR_RELAYOUT before it. */\n" +
		"#include \"krserve.h\"\n\n#ifndef KR_RELAYOUT\n" +
		"_Static_assert(sizeof(void *) == 8, \"handles are 64 bits wide\");\n")
	for _, line := range strings.Split(strings.TrimSpace(layout), "\n") {
		f := strings.Fields(line)
		switch f[0] {
		case "struct":
			fmt.Fprintf(&b, "_Static_assert(sizeof(%s) == %s, \"size of %s\");\n", f[1], f[3], f[1])
		case "field":
			s, field, _ := strings.Cut(f[1], ".")
			fmt.Fprintf(&b, "_Static_assert(offsetof(%s, %s) == %s, \"offset of %s\");\n", s, field, f[3], f[1])
		}
	}
	return b.String() + "#endif\n"
}

// TestABIFirstSizes: the least struct_size that the library takes is the golden's, and never grows.
func TestABIFirstSizes(t *testing.T) {
	shim, err := os.ReadFile("shim.c")
	if err != nil {
		t.Fatal(err)
	}
	abi, err := os.ReadFile(filepath.Join(includeDir, "krserve.abi"))
	if err != nil {
		t.Fatal(err)
	}
	sized := regexp.MustCompile(`(?m)^field (\w+)\.struct_size offset 0 size 4$`).FindAllStringSubmatch(string(abi), -1)
	if len(sized) != 12 {
		t.Errorf("%d structs with struct_size, want 12", len(sized))
	}
	// Fields came after these sizes, so they are the first version's for ever.
	grown := map[string]int{"kr_engine_params": 128, "kr_request": 184, "kr_stats": 128}
	for _, m := range sized {
		constant := "FIRST_" + strings.ToUpper(strings.TrimPrefix(m[1], "kr_"))
		first := regexp.MustCompile(constant + `\s+= (\d+),`).FindSubmatch(shim)
		size := regexp.MustCompile(`(?m)^struct ` + m[1] + ` size (\d+)$`).FindSubmatch(abi)
		if first == nil || size == nil {
			t.Errorf("%s: no %s in shim.c", m[1], constant)
			continue
		}
		if a, b := atoi(string(first[1])), atoi(string(size[1])); a > b {
			t.Errorf("%s is %d, more than the whole %s (%d)", constant, a, m[1], b)
		} else if want, ok := grown[m[1]]; a != b && a != want || ok && a != want {
			t.Errorf("%s is %d, the first version of %s had %d bytes", constant, a, m[1], cmp.Or(want, b))
		}
	}
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// TestHeaderCompiles as C99, C11 and C++17 with every warning an error, also behind a caller's own strict flags.
func TestHeaderCompiles(t *testing.T) {
	const use = "#include <krserve.h>\nint main(void) { return kr_abi_version() == 0; }\n"
	strict := []string{"-Wall", "-Wextra", "-Wpedantic", "-pedantic-errors", "-Wpadded", "-Wshadow", "-Wconversion", "-Werror", "-c"}
	compile(t, "cc", "c99.c", use, append(strict, "-std=c99", "-Wstrict-prototypes")...)
	compile(t, "cc", "c11.c", use, append(strict, "-std=c11", "-Wstrict-prototypes")...)
	compile(t, "c++", "cxx17.cc", use, append(strict, "-std=c++17")...)
	compile(t, "c++", "cxx20.cc", use, append(strict, "-std=c++20")...)
}

// compile builds one C or C++ source against the published header, and returns the program.
func compile(t *testing.T, cc, file, src string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, file)
	if err := os.WriteFile(path, []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "out")
	args := append([]string{"-I" + includeDir, path, "-o", exe}, flags...)
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", cc, strings.Join(args, " "), err, out)
	}
	return exe
}

// sentinels lists the exported Err* variables of a package's folder.
func sentinels(t *testing.T, dir string) []string {
	files, err := filepath.Glob(filepath.Join(testenv.Root(), dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources in %q: %v", dir, err)
	}
	var out []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				for _, s := range g.Specs {
					for _, n := range s.(*ast.ValueSpec).Names {
						if strings.HasPrefix(n.Name, "Err") {
							out = append(out, f.Name.Name+"."+n.Name)
						}
					}
				}
			}
		}
	}
	return out
}
