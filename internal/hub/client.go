package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// client speaks HTTP with stalls, retries and resumption.
type client struct {
	http *http.Client
	o    Options
	host string // the only host that sees the token
}

func newClient(o Options) *client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: o.Stall}).DialContext
	t.ResponseHeaderTimeout = o.Stall
	t.DisableCompression = true // sizes and ranges count the bytes of the file
	c := &client{o: o}
	if u, err := url.Parse(o.Endpoint); err == nil {
		c.host = u.Host
	}
	c.http = &http.Client{Transport: t, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("too many redirects")
		}
		if req.URL.Host != c.host {
			req.Header.Del("Authorization")
		}
		return nil
	}}
	return c
}

func (c *client) request(ctx context.Context, method, u string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTransfer, err)
	}
	req.Header.Set("User-Agent", "krserve")
	if c.o.Token != "" && req.URL.Host == c.host {
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	return req, nil
}

// retry calls f until it succeeds, fails for good, or the retries are used up. f says whether it made progress, which
// starts the count anew.
func (c *client) retry(ctx context.Context, f func() (progressed bool, wait time.Duration, err error)) error {
	left := max(0, c.o.Retries)
	for try := 0; ; try++ {
		progressed, wait, err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var w *writeError
		if !errors.Is(err, ErrTransfer) || errors.As(err, &w) {
			return err
		}
		if progressed {
			left, try = max(0, c.o.Retries), 0
		}
		if left == 0 {
			return err
		}
		left--
		if wait == 0 {
			wait = min(time.Duration(100<<min(try, 6))*time.Millisecond, c.o.Stall)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// again reports whether a status is worth another try, and how long the server asks to wait, at most Stall.
func (c *client) again(resp *http.Response) (bool, time.Duration) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < 500 {
		return false, 0
	}
	s, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return true, min(time.Duration(max(0, s))*time.Second, c.o.Stall)
}

// json reads a small JSON answer.
func (c *client) json(ctx context.Context, u string, v any) error {
	return c.retry(ctx, func() (bool, time.Duration, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*c.o.Stall)
		defer cancel()
		req, err := c.request(ctx, http.MethodGet, u)
		if err != nil {
			return false, 0, err
		}
		resp, err := c.http.Do(req)
		if err != nil {
			return false, 0, fmt.Errorf("%w: %w", ErrTransfer, err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return c.failed(u, resp)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
		if err == nil {
			err = json.Unmarshal(body, v)
		}
		if err != nil {
			return false, 0, fmt.Errorf("%w: %s: %w", ErrTransfer, u, err)
		}
		return false, 0, nil
	})
}

func (c *client) failed(u string, resp *http.Response) (bool, time.Duration, error) {
	again, wait := c.again(resp)
	err := statusError(u, resp)
	if !again && errors.Is(err, ErrTransfer) {
		err = fmt.Errorf("%w: %s for %s", ErrNotFound, resp.Status, u)
	}
	return false, wait, err
}

// meta is what the server says about a file before it is fetched.
type meta struct {
	etag string // hex: sha256 of a large file, or git's sha1 of a small one
	size int64  // -1 when unknown
}

var etagForm = regexp.MustCompile(`^[0-9a-zA-Z._-]{1,128}$`)

// head asks for a file's checksum and size. The checksum stands on the first answer of the endpoint, before it
// redirects to where the bytes are.
func (c *client) head(ctx context.Context, u string) (meta, error) {
	var m meta
	err := c.retry(ctx, func() (bool, time.Duration, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*c.o.Stall)
		defer cancel()
		stay := *c.http
		stay.CheckRedirect = func(req *http.Request, via []*http.Request) error {
			if req.URL.Host != c.host || len(via) >= 10 {
				return http.ErrUseLastResponse
			}
			if r := req.Response; r != nil && r.Header.Get("X-Linked-Etag") != "" {
				return http.ErrUseLastResponse
			}
			return nil
		}
		req, err := c.request(ctx, http.MethodHead, u)
		if err != nil {
			return false, 0, err
		}
		resp, err := stay.Do(req)
		if err != nil {
			return false, 0, fmt.Errorf("%w: %w", ErrTransfer, err)
		}
		resp.Body.Close()
		if resp.StatusCode >= 400 {
			return c.failed(u, resp)
		}
		m.etag, m.size = resp.Header.Get("X-Linked-Etag"), -1
		size := resp.Header.Get("X-Linked-Size")
		if m.etag == "" {
			m.etag = resp.Header.Get("ETag")
		}
		if size == "" && resp.StatusCode == http.StatusOK {
			size = resp.Header.Get("Content-Length")
		}
		m.etag = strings.Trim(strings.TrimPrefix(m.etag, "W/"), `"`)
		if n, err := strconv.ParseInt(size, 10, 64); err == nil && n >= 0 {
			m.size = n
		}
		if !etagForm.MatchString(m.etag) || strings.Trim(m.etag, ".") == "" {
			return false, 0, fmt.Errorf("%w: %s has no usable ETag (%q)", ErrNotFound, u, m.etag)
		}
		return false, 0, nil
	})
	return m, err
}

// download fetches a file into blob, continuing what an earlier try left in blob.incomplete.
func (c *client) download(ctx context.Context, u string, m meta, blob, name string, o Options) error {
	f, err := os.OpenFile(blob+".incomplete", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	defer f.Close()
	bar := progress{file: name, total: m.size, report: o.Progress}
	err = c.retry(ctx, func() (bool, time.Duration, error) {
		at, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return false, 0, fmt.Errorf("hub: %w", err)
		}
		bar.done = at
		wait, err := c.part(ctx, u, m, f, at, &bar)
		now, _ := f.Seek(0, io.SeekEnd)
		return now > at, wait, err
	})
	if err != nil {
		return c.keep(f, name, err)
	}
	bar.end()
	if err := verify(f, m); err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("%w (%s)", err, name)
	}
	return publish(f, blob)
}

// keep decides what stays after a failed download: the bytes of a broken transfer, for the next try to continue; not
// those of a full disk, whose room others need.
func (c *client) keep(f *os.File, name string, err error) error {
	var w *writeError
	if errors.As(err, &w) {
		os.Remove(f.Name())
		return fmt.Errorf("hub: write %s: %w", name, w.err)
	}
	if info, serr := f.Stat(); serr == nil && info.Size() == 0 {
		os.Remove(f.Name())
	}
	return err
}

// part appends the rest of a file from offset at.
func (c *client) part(ctx context.Context, u string, m meta, f *os.File, at int64, bar *progress) (time.Duration, error) {
	if m.size >= 0 && at == m.size {
		return 0, nil
	}
	if m.size >= 0 && at > m.size {
		bar.done, at = 0, 0
		if err := restart(f); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := c.request(ctx, http.MethodGet, u)
	if err != nil {
		return 0, err
	}
	if at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", at))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrTransfer, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", at)):
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusPartialContent, resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		if at > 0 {
			bar.done = 0
			if err := restart(f); err != nil {
				return 0, err
			}
		}
		if resp.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("%w: %s ignores the range from %d", ErrTransfer, u, at)
		}
	default:
		_, wait, err := c.failed(u, resp)
		return wait, err
	}
	body := &stallReader{r: resp.Body, d: c.o.Stall, cancel: cancel}
	body.timer = time.AfterFunc(c.o.Stall, func() { cancel(errStalled) })
	defer body.timer.Stop()
	if err := copyCtx(ctx, f, body, bar); err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = fmt.Errorf("no byte for %s", c.o.Stall)
		}
		return 0, fmt.Errorf("%w: %s: %w", ErrTransfer, u, err)
	}
	if m.size >= 0 && bar.done != m.size {
		return 0, fmt.Errorf("%w: %s: %d of %d bytes arrived", ErrTransfer, u, bar.done, m.size)
	}
	return 0, nil
}

func restart(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

var errStalled = errors.New("stalled")

// stallReader cancels a transfer that passes no byte for a while.
type stallReader struct {
	r      io.Reader
	d      time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func (s *stallReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if n > 0 {
		s.timer.Reset(s.d)
	}
	return n, err
}

// verify compares a whole file with its etag, where that is a checksum.
func verify(f *os.File, m meta) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	var h hash.Hash
	switch {
	case len(m.etag) == 64 && isHex(m.etag):
		h = sha256.New()
	case len(m.etag) == 40 && isHex(m.etag):
		h = sha1.New() // git's blob id
		fmt.Fprintf(h, "blob %d\x00", size)
	default:
		return nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != m.etag {
		return fmt.Errorf("%w: the file hashes to %s, the server says %s", ErrChecksum, got, m.etag)
	}
	return nil
}

func isHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil
}
