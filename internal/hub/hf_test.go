package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// server is a Hugging Face endpoint and its separate content host, with faults.
type server struct {
	*httptest.Server
	cdn   *httptest.Server
	files map[string][]byte

	gets       atomic.Int32                                                            // content requests
	fault      func(n int32, w http.ResponseWriter, r *http.Request, body []byte) bool // on content; true = handled
	apiFault   func(w http.ResponseWriter) bool
	wrongSum   bool
	leaked     atomic.Bool // the token reached the content host
	wantToken  string
	rangesSeen sync.Map
}

func newServer(t *testing.T, files map[string][]byte) *server {
	s := &server{files: files}
	s.cdn = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			s.leaked.Store(true)
		}
		n := s.gets.Add(1)
		body := s.files[strings.TrimPrefix(r.URL.Path, "/")]
		s.rangesSeen.Store(n, r.Header.Get("Range"))
		if s.fault != nil && s.fault(n, w, r, body) {
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.wantToken != "" && r.Header.Get("Authorization") != "Bearer "+s.wantToken {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if s.apiFault != nil && s.apiFault(w) {
			return
		}
		if r.URL.Path == "/api/models/org/model/revision/main" {
			type sib struct {
				Name string `json:"rfilename"`
			}
			var sibs []sib
			for n := range s.files {
				sibs = append(sibs, sib{n})
			}
			sibs = append(sibs, sib{"../escape.safetensors"}, sib{"README.md"})
			json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": sibs})
			return
		}
		name, ok := strings.CutPrefix(r.URL.Path, "/org/model/resolve/"+commit+"/")
		body, found := s.files[name]
		if !ok || !found {
			http.NotFound(w, r)
			return
		}
		if strings.HasSuffix(name, ".json") { // small files: git's blob id, served directly
			h := sha1.New()
			fmt.Fprintf(h, "blob %d\x00", len(body))
			h.Write(body)
			w.Header().Set("ETag", `"`+hex.EncodeToString(h.Sum(nil))+`"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
			return
		}
		sum := sha256.Sum256(body)
		if s.wrongSum {
			sum[0]++
		}
		w.Header().Set("X-Linked-Etag", `"`+hex.EncodeToString(sum[:])+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(body)))
		w.Header().Set("X-Repo-Commit", commit)
		http.Redirect(w, r, s.cdn.URL+"/"+name, http.StatusFound)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.cdn.CloseClientConnections()
		s.Close()
		s.cdn.Close()
	})
	return s
}

func (s *server) options(t *testing.T) Options {
	return Options{Endpoint: s.URL, CacheDir: t.TempDir(), Stall: 300 * time.Millisecond}
}

func content(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// leftovers lists every file of the cache that is not a blob, a link or a lock.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(p, ".lock") {
			out = append(out, p)
		}
		return nil
	})
	return out
}

func TestFetchFile(t *testing.T) {
	want := content(3 << 20)
	s := newServer(t, map[string][]byte{"q/model-Q4.gguf": want, "other.gguf": {1}})
	o := s.options(t)
	o.Token, s.wantToken = "secret", "secret"
	var last, total int64
	o.Progress = func(_ string, d, n int64) { last, total = d, n }
	const name = "hf:org/model/q/model-Q4.gguf"
	if _, err := Lookup(name, o); !errors.Is(err, ErrNotCached) {
		t.Fatalf("Lookup before Fetch: %v", err)
	}
	p, err := Fetch(context.Background(), name, o)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(p); !bytes.Equal(got, want) {
		t.Fatal("content differs")
	}
	if last != int64(len(want)) || total != last {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	if s.leaked.Load() {
		t.Error("the token was sent to the content host")
	}
	before := s.gets.Load()
	o.Offline = true
	if again, err := Fetch(context.Background(), name, o); err != nil || again != p || s.gets.Load() != before {
		t.Errorf("second Fetch: %q, %v", again, err)
	}
	if _, err := Fetch(context.Background(), "hf:org/model/absent.gguf", o); !errors.Is(err, ErrNotCached) {
		t.Errorf("offline: %v", err)
	}
	if rel, err := os.Readlink(p); err != nil || filepath.IsAbs(rel) {
		t.Errorf("snapshot entry links to %q, %v; want a relative link as huggingface_hub makes", rel, err)
	}
}

func TestFetchWholeModel(t *testing.T) {
	files := map[string][]byte{
		"config.json":                      []byte(`{}`),
		"tokenizer.json":                   []byte(`{"a":1}`),
		"model-00001-of-00002.safetensors": content(70000),
		"model-00002-of-00002.safetensors": content(50000),
		"model.safetensors.index.json":     []byte(`{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`),
		"onnx/model.onnx":                  content(10),
	}
	s := newServer(t, files)
	o := s.options(t)
	p, err := Fetch(context.Background(), "hf:org/model", o)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range files {
		got, err := os.ReadFile(filepath.Join(p, n))
		if strings.Contains(n, "/") {
			if err == nil {
				t.Errorf("%s was fetched too", n)
			}
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s differs: %v", n, err)
		}
	}
	// A snapshot that has lost a shard is not a model.
	os.Remove(filepath.Join(p, "model-00002-of-00002.safetensors"))
	if _, err := Lookup("hf:org/model", o); !errors.Is(err, ErrNotCached) {
		t.Errorf("Lookup of an incomplete snapshot: %v", err)
	}
}

func TestSeveralGGUFs(t *testing.T) {
	s := newServer(t, map[string][]byte{"a.gguf": {1}, "b.gguf": {2}})
	if _, err := Fetch(context.Background(), "hf:org/model", s.options(t)); !errors.Is(err, ErrName) || !strings.Contains(err.Error(), "a.gguf") {
		t.Errorf("err = %v, want one that lists the files", err)
	}
}

// TestFaults has the server misbehave in each way, and looks at the error and at what stays behind.
func TestFaults(t *testing.T) {
	want := content(1 << 20)
	cut := func(at int) func(int32, http.ResponseWriter, *http.Request, []byte) bool {
		return func(n int32, w http.ResponseWriter, r *http.Request, body []byte) bool {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.Write(body[:at])
			panic(http.ErrAbortHandler)
		}
	}
	for _, c := range []struct {
		name  string
		setup func(*server, *Options)
		err   error // nil: it recovers
		keep  bool  // an .incomplete file may stay to be continued
	}{
		{"cut once, continued", func(s *server, o *Options) {
			s.fault = func(n int32, w http.ResponseWriter, r *http.Request, body []byte) bool {
				return n == 1 && cut(400000)(n, w, r, body)
			}
		}, nil, false},
		{"cut always", func(s *server, o *Options) { s.fault = cut(0); o.Retries = 2 }, ErrTransfer, true},
		{"server ignores ranges", func(s *server, o *Options) {
			s.fault = func(n int32, w http.ResponseWriter, r *http.Request, body []byte) bool {
				if n == 1 {
					return cut(400000)(n, w, r, body)
				}
				w.Write(body)
				return true
			}
		}, nil, false},
		{"hangs in the body", func(s *server, o *Options) {
			o.Retries = 1
			s.fault = func(n int32, w http.ResponseWriter, r *http.Request, body []byte) bool {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return true
			}
		}, ErrTransfer, true},
		{"hangs before the header", func(s *server, o *Options) {
			o.Retries = -1
			s.apiFault = func(w http.ResponseWriter) bool { time.Sleep(900 * time.Millisecond); return true }
		}, ErrTransfer, false},
		{"wrong checksum", func(s *server, o *Options) { s.wrongSum = true }, ErrChecksum, false},
		{"longer than announced", func(s *server, o *Options) {
			o.Retries = 1
			s.fault = func(n int32, w http.ResponseWriter, r *http.Request, body []byte) bool {
				w.Write(append(append([]byte(nil), body...), "more"...))
				return true
			}
		}, ErrTransfer, true},
		{"401", func(s *server, o *Options) { s.wantToken = "x" }, ErrDenied, false},
		{"404", func(s *server, o *Options) {
			s.apiFault = func(w http.ResponseWriter) bool { w.WriteHeader(404); return true }
		}, ErrNotFound, false},
		{"500 always", func(s *server, o *Options) {
			o.Retries = 1
			s.apiFault = func(w http.ResponseWriter) bool { w.WriteHeader(500); return true }
		}, ErrTransfer, false},
		{"429 once", func(s *server, o *Options) {
			var n atomic.Int32
			s.apiFault = func(w http.ResponseWriter) bool {
				if n.Add(1) > 1 {
					return false
				}
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(429)
				return true
			}
		}, nil, false},
		{"answers HTML", func(s *server, o *Options) {
			o.Retries = -1
			s.apiFault = func(w http.ResponseWriter) bool { w.Write([]byte("<html>")); return true }
		}, ErrTransfer, false},
		{"redirects for ever", func(s *server, o *Options) {
			o.Retries = -1
			s.fault = func(n int32, w http.ResponseWriter, r *http.Request, body []byte) bool {
				http.Redirect(w, r, r.URL.Path, http.StatusFound)
				return true
			}
		}, ErrTransfer, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, map[string][]byte{"m.gguf": want})
			o := s.options(t)
			c.setup(s, &o)
			p, err := Fetch(context.Background(), "hf:org/model/m.gguf", o)
			if c.err == nil {
				if got, _ := os.ReadFile(p); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("err = %v, content right: %v", err, bytes.Equal(got, want))
				}
				return
			}
			if !errors.Is(err, c.err) {
				t.Fatalf("err = %v, want %v", err, c.err)
			}
			if _, err := Lookup("hf:org/model/m.gguf", o); !errors.Is(err, ErrNotCached) {
				t.Errorf("after the failure Lookup says %v", err)
			}
			for _, f := range leftovers(t, o.CacheDir) {
				if !c.keep || !strings.HasSuffix(f, ".incomplete") {
					t.Errorf("left behind: %s", f)
				}
			}
		})
	}
}

func TestResumeAcrossPulls(t *testing.T) {
	want := content(1 << 20)
	s := newServer(t, map[string][]byte{"m.gguf": want})
	s.fault = func(n int32, w http.ResponseWriter, r *http.Request, body []byte) bool {
		if n > 1 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:600000])
		panic(http.ErrAbortHandler)
	}
	o := s.options(t)
	o.Retries = -1
	if _, err := Fetch(context.Background(), "hf:org/model/m.gguf", o); !errors.Is(err, ErrTransfer) {
		t.Fatalf("first pull: %v", err)
	}
	if _, err := Fetch(context.Background(), "hf:org/model/m.gguf", o); err != nil {
		t.Fatal(err)
	}
	if rng, _ := s.rangesSeen.Load(int32(2)); rng == "" || rng == nil {
		t.Error("the second pull started from the beginning")
	}
}

func TestCancelAndConcurrency(t *testing.T) {
	want := content(1 << 20)
	s := newServer(t, map[string][]byte{"m.gguf": want})
	block := make(chan struct{})
	s.fault = func(n int32, w http.ResponseWriter, r *http.Request, body []byte) bool {
		if n == 1 {
			w.Write(body[:10])
			w.(http.Flusher).Flush()
			select {
			case <-block:
			case <-r.Context().Done():
			}
			panic(http.ErrAbortHandler)
		}
		return false
	}
	o := s.options(t)
	o.Stall = 5 * time.Second
	ctx, cancel := context.WithTimeoutCause(context.Background(), 200*time.Millisecond, errors.New("enough"))
	defer cancel()
	start := time.Now()
	if _, err := Fetch(ctx, "hf:org/model/m.gguf", o); err == nil || !strings.Contains(err.Error(), "enough") || time.Since(start) > 3*time.Second {
		t.Errorf("cancelled pull: %v after %v", err, time.Since(start))
	}
	close(block)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := Fetch(context.Background(), "hf:org/model/m.gguf", o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.gets.Load(); n != 2 {
		t.Errorf("8 pulls at once made %d content requests, want 1 after the cancelled one", n-1)
	}
}

func TestNames(t *testing.T) {
	for _, n := range []string{"", "nope", "hf:", "hf:org", "hf:org/", "hf:../x", "hf:o/m/../../etc/passwd", "hf:o/m//x", `hf:o/m/a\b`, "hf:o/m/C:x"} {
		if _, err := Fetch(context.Background(), n, Options{CacheDir: t.TempDir(), Offline: true}); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v, want ErrName", n, err)
		}
	}
}

// TestDiskFull lets the download write to a device that is always full.
func TestDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Log("this system has no /dev/full; TestFullDisk covers the rule")
		return
	}
	want := content(1 << 20)
	s := newServer(t, map[string][]byte{"m.gguf": want})
	o := s.options(t)
	sum := sha256.Sum256(want)
	part := filepath.Join(o.CacheDir, "models--org--model", "blobs", hex.EncodeToString(sum[:])+".incomplete")
	if err := errors.Join(os.MkdirAll(filepath.Dir(part), 0o755), os.Symlink("/dev/full", part)); err != nil {
		t.Fatal(err)
	}
	_, err := Fetch(context.Background(), "hf:org/model/m.gguf", o)
	if err == nil || !strings.Contains(err.Error(), "no space left") || s.gets.Load() != 1 {
		t.Errorf("err = %v after %d requests, want one about space, without retries", err, s.gets.Load())
	}
	if _, err := os.Lstat(part); err == nil {
		t.Error("the partial file stays on a full disk")
	}
}
