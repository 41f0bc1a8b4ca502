// Package python tests the Python package the way its users get it: installed by pip, which builds the library.
package python

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

func TestPython(t *testing.T) {
	python := testenv.Fetched(t, "venv", "bin", "python")
	testenv.SmolLM2(t)
	site := t.TempDir()
	run(t, site, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation", "--no-deps",
		"--no-index", "--target", site, ".")
	entries, err := filepath.Glob(filepath.Join(site, "krserve-*.dist-info", "WHEEL"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("no wheel metadata: %v, %v", entries, err)
	}
	wheel, err := os.ReadFile(entries[0])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(wheel), "Root-Is-Purelib: false") || !strings.Contains(string(wheel), "Tag: py3-none-") {
		t.Errorf("the wheel is not one platform's for any Python 3:\n%s", wheel)
	}
	run(t, site, python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
	run(t, site, python, "-m", "mypy", "--cache-dir="+filepath.Join(t.TempDir(), "mypy"), "src/krserve")
}

// run runs a command in this folder with the installed package in Python's path.
func run(t *testing.T, site, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+site, "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// TestNoGo: without Go the build fails, and says what to install.
func TestNoGo(t *testing.T) {
	python := testenv.Fetched(t, "venv", "bin", "python")
	cmd := exec.Command(python, "setup.py", "build", "--build-base", t.TempDir())
	cmd.Env = append(os.Environ(), "PATH="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "needs Go 1.26") {
		t.Errorf("%v\n%s", err, out)
	}
}
