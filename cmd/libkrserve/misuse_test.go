//go:build cgo

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/krserve/krserve/internal/testenv"
)

// TestMisuse runs the C programs of testdata/misuse, built with the address and undefined-behaviour sanitizers.
func TestMisuse(t *testing.T) {
	exe := misuse(t)
	list, err := exec.Command(exe).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, list)
	}
	cases := strings.Fields(string(list))
	if len(cases) < 23 {
		t.Fatalf("cases: %v", cases)
	}
	model := testenv.SmolLM2(t)
	for _, c := range cases {
		t.Run(c, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, exe, c, model, model)
			// Leaks are looked for by the sanitizer at exit, in the caller's memory.
			cmd.Env = append(os.Environ(), "ASAN_OPTIONS=halt_on_error=1", "UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1")
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != "ok\n" {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// misuse builds the caller against the test build of the library, which can be told to panic and to log.
func misuse(t *testing.T) string {
	lib := library(t, "krtest")
	sources, err := filepath.Glob("testdata/misuse/*.c")
	if err != nil || len(sources) < 5 {
		t.Fatalf("%v: %v", sources, err)
	}
	exe := filepath.Join(t.TempDir(), "misuse")
	args := append([]string{"-std=c11", "-D_POSIX_C_SOURCE=200809L", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined",
		"-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-I" + filepath.Dir(lib), "-o", exe}, sources...)
	args = append(args, lib, "-Wl,-rpath,"+filepath.Dir(lib), "-pthread")
	if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return exe
}
