package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/krserve/krserve/internal/mem"
)

const indexName = "model.safetensors.index.json"

// Open opens a model: a .safetensors file, an index file (….json), or a directory. In a directory it takes
// model.safetensors.index.json if there is one, and otherwise all files model*.safetensors, as mlx-lm does.
func Open(path string) (*File, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	switch {
	case !fi.IsDir() && strings.HasSuffix(path, ".json"):
		return openIndex(path)
	case !fi.IsDir():
		return openFiles([]string{path})
	}
	index := filepath.Join(path, indexName)
	if _, err := os.Stat(index); err == nil {
		return openIndex(index)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	var files []string
	for _, e := range entries {
		if ok, _ := filepath.Match("model*.safetensors", e.Name()); ok {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("safetensors: %s has no model*.safetensors: %w", path, fs.ErrNotExist)
	}
	return openFiles(files)
}

// openFiles opens shards, whose tensors must have different names.
func openFiles(paths []string) (*File, error) {
	if len(paths) > maxShards {
		return nil, fmt.Errorf("%w: %d shards, at most %d are read", ErrFormat, len(paths), maxShards)
	}
	all := &File{byName: map[string]int{}}
	for _, p := range paths {
		if err := all.add(p); err != nil {
			all.Close()
			return nil, err
		}
	}
	return all, nil
}

func (f *File) add(path string) error {
	m, err := mem.Map(path)
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	f.files.Add(m)
	one, err := Parse(m.Bytes())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if f.meta == nil {
		f.meta = one.meta
	}
	for _, t := range one.tensors {
		if _, dup := f.byName[t.Name]; dup {
			return fmt.Errorf("%s: %w: tensor %q is in another shard, too", path, ErrFormat, t.Name)
		}
		f.byName[t.Name] = len(f.tensors)
		f.tensors = append(f.tensors, t)
	}
	return nil
}

// openIndex opens the shards that an index names and checks that they hold every tensor it lists.
func openIndex(path string) (*File, error) {
	m, err := mem.Map(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	where, err := parseIndex(m.Bytes())
	m.Close()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	dir := filepath.Dir(path)
	names := map[string]bool{}
	var files []string
	for _, file := range where {
		if !names[file] {
			names[file] = true
			files = append(files, filepath.Join(dir, file))
		}
	}
	slices.Sort(files)
	f, err := openFiles(files)
	if err != nil {
		return nil, err
	}
	for tensor := range where {
		if f.Tensor(tensor) == nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w: tensor %q is not in %s", path, ErrFormat, tensor, where[tensor])
		}
	}
	return f, nil
}

// parseIndex returns the weight_map of an index file: tensor names to file names.
func parseIndex(data []byte) (map[string]string, error) {
	if len(data) > maxHeader {
		return nil, &FormatError{0, fmt.Sprintf("an index of %d bytes, at most %d are read", len(data), maxHeader)}
	}
	if at := invalidUTF8(data); at >= 0 {
		return nil, &FormatError{int64(at), "the index is not UTF-8"}
	}
	s := newScanner(data, 0)
	where := map[string]string{}
	err := s.object("the index", func(key string) error {
		if key != "weight_map" {
			return s.skip()
		}
		return s.object(key, func(tensor string) error {
			file, err := s.text(fmt.Sprintf("weight_map[%q]", tensor))
			if err == nil && !plainName(file) {
				err = s.fail("weight_map[%q] is %q, which is no plain name of a .safetensors file", tensor, file)
			}
			where[tensor] = file
			return err
		})
	})
	if err == nil {
		err = s.end()
	}
	if err == nil && len(where) == 0 {
		err = s.fail("the index has no weight_map")
	}
	if err != nil {
		return nil, err
	}
	return where, nil
}

// plainName reports whether a file of that name lies in the index's own directory on every system.
func plainName(name string) bool {
	return strings.HasSuffix(name, ".safetensors") && filepath.IsLocal(name) && !strings.ContainsAny(name, "/\\:\x00")
}
