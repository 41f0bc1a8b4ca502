package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var libraries sync.Map // tags -> func() (string, error)

// Library builds the C library, once per test binary and set of build tags, and returns the shared library's path.
// Its folder holds krserve.h, too.
func Library(tb testing.TB, tags string) string {
	tb.Helper()
	build, _ := libraries.LoadOrStore(tags, sync.OnceValues(func() (string, error) {
		// Below dist/, where the next run finds it up to date; per test binary, as packages are tested side by side.
		out := filepath.Join(Root(), "dist", "test", strings.TrimSuffix(filepath.Base(os.Args[0]), ".test"), tags)
		cmd := exec.Command("go", "run", "cmd/libkrserve/build.go", "-o", out, "-tags", tags)
		cmd.Dir = Root()
		var stderr strings.Builder
		cmd.Stderr = &stderr
		lib, err := cmd.Output()
		if err != nil {
			return stderr.String(), err
		}
		return strings.TrimSpace(string(lib)), nil
	}))
	lib, err := build.(func() (string, error))()
	if err != nil {
		tb.Fatalf("building the C library: %v\n%s", err, lib)
	}
	return lib
}
