//go:build ignore

// Builds the C library: go run cmd/libkrserve/build.go [-o dir] [-tags list] leaves the shared library and krserve.h
// in dir. `make libkrserve`, the Python package and the tests all come here, so that one place knows the flags.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	out := flag.String("o", "dist", "directory for the library and its header")
	tags := flag.String("tags", "", "build tags")
	flag.Parse()
	if err := build(*out, *tags); err != nil {
		fmt.Fprintln(os.Stderr, "libkrserve:", err)
		os.Exit(1)
	}
}

// exportList writes the linker's list of what the library shows: include/krserve.symbols and nothing else. A bare
// c-shared library exports some fifty symbols of cgo, too.
func exportList(root, out, goos, tags string) (string, error) {
	names, err := os.ReadFile(filepath.Join(root, "include", "krserve.symbols"))
	if err != nil {
		return "", err
	}
	list := strings.Fields(string(names))
	if strings.Contains(tags, "krtest") {
		list = append(list, "kr_test_panic", "kr_test_log")
	}
	text := "{ global: " + strings.Join(list, "; ") + "; local: *; };\n"
	if goos == "darwin" {
		text = "_" + strings.Join(list, "\n_") + "\n"
	}
	// A steady name: the link is skipped when nothing has changed, flags included.
	file := filepath.Join(out, "exports.list")
	return file, os.WriteFile(file, []byte(text), 0o644)
}

func build(out, tags string) error {
	_, self, _, _ := runtime.Caller(0)
	here := filepath.Dir(self)
	root := filepath.Join(here, "..", "..")
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	goos := os.Getenv("GOOS")
	if goos == "" {
		goos = runtime.GOOS
	}
	exports, err := exportList(root, out, goos, tags)
	if err != nil {
		return err
	}
	defer os.Remove(exports)
	file, link := "libkrserve.so", "-Wl,--version-script="+exports+" -Wl,-soname,libkrserve.so"
	switch goos {
	case "darwin":
		file, link = "libkrserve.dylib", "-Wl,-exported_symbols_list,"+exports+" -Wl,-install_name,@rpath/libkrserve.dylib"
	case "windows": // what KR_API marks is exported, and nothing else
		file, link = "krserve.dll", ""
	}
	lib := filepath.Join(out, file)
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-tags", tags,
		"-ldflags", "-s -w '-extldflags="+link+"'", "-o", lib, "./cmd/libkrserve")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build (it needs Go and a C compiler): %w", err)
	}
	// cgo's own header beside it would be a second, wrong interface.
	if err := os.Remove(lib[:len(lib)-len(filepath.Ext(lib))] + ".h"); err != nil && !os.IsNotExist(err) {
		return err
	}
	header, err := os.ReadFile(filepath.Join(root, "include", "krserve.h"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "krserve.h"), header, 0o644); err != nil {
		return err
	}
	fmt.Println(lib)
	return nil
}
