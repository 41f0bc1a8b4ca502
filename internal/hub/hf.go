package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// repo is a Hugging Face model repository, and a file of it or "" for the whole model. The cache has the layout of the
// huggingface_hub library: blobs by etag, snapshots of links by commit, refs by branch.
type repo struct{ org, name, file string }

const branch = "main"

func (r repo) id() string { return r.org + "/" + r.name }

func (r repo) dir(o Options) string {
	return filepath.Join(o.CacheDir, "models--"+r.org+"--"+r.name)
}

var commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)

// lookup finds the file or the complete model in the snapshot that refs/main names.
func (r repo) lookup(o Options) (string, error) {
	miss := func(why string) error {
		return fmt.Errorf("%w: hf:%s: %s in %s", ErrNotCached, strings.TrimRight(r.id()+"/"+r.file, "/"), why, r.dir(o))
	}
	ref, err := os.ReadFile(filepath.Join(r.dir(o), "refs", branch))
	if err != nil || !commitForm.MatchString(strings.TrimSpace(string(ref))) {
		return "", miss("no snapshot")
	}
	snap := filepath.Join(r.dir(o), "snapshots", strings.TrimSpace(string(ref)))
	if r.file != "" {
		p := filepath.Join(snap, filepath.FromSlash(r.file))
		if _, err := os.Stat(p); err != nil {
			return "", miss("no such file")
		}
		return p, nil
	}
	var names []string
	filepath.WalkDir(snap, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if _, err := os.Stat(p); err == nil {
				rel, _ := filepath.Rel(snap, p)
				names = append(names, filepath.ToSlash(rel))
			}
		}
		return nil
	})
	want, whole, err := selectFiles(names)
	if err != nil || !complete(snap, want) {
		return "", miss("no complete model")
	}
	return filepath.Join(snap, filepath.FromSlash(whole)), nil
}

// complete reports whether all shards that an index names are there.
func complete(snap string, files []string) bool {
	for _, f := range files {
		if !strings.HasSuffix(f, ".safetensors.index.json") {
			continue
		}
		var index struct {
			Weights map[string]string `json:"weight_map"`
		}
		b, err := os.ReadFile(filepath.Join(snap, f))
		if err != nil || json.Unmarshal(b, &index) != nil {
			return false
		}
		for _, shard := range index.Weights {
			if !safePath(shard) {
				return false
			}
			if _, err := os.Stat(filepath.Join(snap, shard)); err != nil {
				return false
			}
		}
	}
	return true
}

// selectFiles picks what a whole model needs. whole is the path of the model inside the snapshot: "" for the folder of a
// safetensors model, or the only GGUF file.
func selectFiles(names []string) (files []string, whole string, err error) {
	var ggufs []string
	for _, n := range names {
		switch {
		case strings.Contains(n, "/"): // subfolders hold other formats of the same model
		case strings.HasSuffix(n, ".safetensors"), strings.HasSuffix(n, ".safetensors.index.json"),
			strings.HasPrefix(n, "tokenizer"), strings.HasPrefix(n, "chat_template"),
			slices.Contains([]string{"config.json", "generation_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"}, n):
			files = append(files, n)
		case strings.HasSuffix(n, ".gguf"):
			ggufs = append(ggufs, n)
		}
	}
	has := func(suffix string) bool {
		return slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, suffix) })
	}
	switch {
	case slices.Contains(files, "config.json") && has(".safetensors"):
		return files, "", nil
	case len(ggufs) == 1:
		return ggufs, ggufs[0], nil
	case len(ggufs) > 1:
		return nil, "", fmt.Errorf("%w: the repository holds several GGUF files; name one: %s", ErrName, strings.Join(ggufs, ", "))
	}
	return nil, "", fmt.Errorf("%w: the repository holds neither a GGUF file nor config.json with *.safetensors", ErrNotFound)
}

func (r repo) fetch(ctx context.Context, o Options) (string, error) {
	var out string
	err := withLock(ctx, filepath.Join(o.CacheDir, ".locks", "models--"+r.org+"--"+r.name+".krserve.lock"), func() error {
		if p, err := r.lookup(o); err == nil {
			out = p
			return nil
		}
		c := newClient(o)
		var info struct {
			SHA      string `json:"sha"`
			Siblings []struct {
				Name string `json:"rfilename"`
			} `json:"siblings"`
		}
		if err := c.json(ctx, o.Endpoint+"/api/models/"+r.id()+"/revision/"+branch, &info); err != nil {
			return err
		}
		if !commitForm.MatchString(info.SHA) {
			return fmt.Errorf("%w: %s answers with commit %q", ErrTransfer, o.Endpoint, info.SHA)
		}
		files, whole := []string{r.file}, r.file
		if r.file == "" {
			var names []string
			for _, s := range info.Siblings {
				if safePath(s.Name) {
					names = append(names, s.Name)
				}
			}
			var err error
			if files, whole, err = selectFiles(names); err != nil {
				return fmt.Errorf("hf:%s: %w", r.id(), err)
			}
		}
		for _, f := range files {
			if err := r.fetchFile(ctx, c, info.SHA, f, o); err != nil {
				return err
			}
		}
		// The reference comes last: a snapshot that it names holds everything that was asked for.
		ref := filepath.Join(r.dir(o), "refs", branch)
		if err := writeFile(ref, []byte(info.SHA)); err != nil {
			return err
		}
		out = filepath.Join(r.dir(o), "snapshots", info.SHA, filepath.FromSlash(whole))
		return nil
	})
	return out, err
}

// fetchFile brings one file of a commit into blobs and links it into the snapshot.
func (r repo) fetchFile(ctx context.Context, c *client, commit, file string, o Options) error {
	link := filepath.Join(r.dir(o), "snapshots", commit, filepath.FromSlash(file))
	if _, err := os.Stat(link); err == nil {
		return nil
	}
	escaped := make([]string, 0, 4)
	for _, part := range strings.Split(file, "/") {
		escaped = append(escaped, url.PathEscape(part))
	}
	u := o.Endpoint + "/" + r.id() + "/resolve/" + commit + "/" + path.Join(escaped...)
	meta, err := c.head(ctx, u)
	if err != nil {
		return err
	}
	blob := filepath.Join(r.dir(o), "blobs", meta.etag)
	if _, err := os.Stat(blob); err != nil {
		if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
			return fmt.Errorf("hub: %w", err)
		}
		if err := c.download(ctx, u, meta, blob, file, o); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	rel, err := filepath.Rel(filepath.Dir(link), blob)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	os.Remove(link) // a dangling link of an earlier pull
	if os.Symlink(rel, link) == nil {
		return nil
	}
	if err := os.Link(blob, link); err != nil { // where links need a privilege
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}

// writeFile replaces a small file atomically.
func writeFile(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".tmp-")
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(data); err != nil {
		return errors.Join(fmt.Errorf("hub: write %s: %w", name, err), f.Close())
	}
	return publish(f, name)
}

// statusError turns an HTTP status into an error that says what to do.
func statusError(u string, resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %s for %s: the repository is private, gated or absent; set a token that may read it", ErrDenied, resp.Status, u)
	case http.StatusNotFound:
		return fmt.Errorf("%w: %s", ErrNotFound, u)
	}
	return fmt.Errorf("%w: %s for %s", ErrTransfer, resp.Status, u)
}
