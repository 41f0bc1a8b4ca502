package gguf

import (
	"fmt"
	"path/filepath"
	"regexp"
)

// shards returns how many files the model is split into, as llama.cpp's gguf-split records it.
func (f *File) shards() (int, error) {
	v := f.Value("split.count")
	n, err := Or[uint64](1)(v.Uint())
	if err != nil {
		return 0, err
	}
	if n > maxShards {
		return 0, malformed(int(v.off), "split.count is %d, at most %d shards are read", n, maxShards)
	}
	return int(n), nil
}

var shardName = regexp.MustCompile(`^(.+)-(\d{5})-of-(\d{5})\.gguf$`)

// openShards gathers all n shards, given any one of them, open, at path. On error it returns what is open.
func openShards(given *File, path string, n int) (*File, error) {
	dir, base := filepath.Split(path)
	m := shardName.FindStringSubmatch(base)
	if m == nil || m[3] != fmt.Sprintf("%05d", n) {
		return given, fmt.Errorf("%w: one of %d shards, but its name does not end in -0000M-of-%05d.gguf", ErrFormat, n, n)
	}
	all := make([]*File, 0, n)
	abandon := func(err error) (*File, error) {
		for _, f := range all {
			if f != given {
				f.Close()
			}
		}
		return given, err
	}
	for i := range n {
		name := fmt.Sprintf("%s-%05d-of-%05d.gguf", m[1], i+1, n)
		f := given
		if name != base {
			var err error
			if f, err = openOne(dir + name); err != nil {
				return abandon(err)
			}
		}
		all = append(all, f)
		no, err := f.Uint("split.no")
		if err != nil {
			return abandon(fmt.Errorf("%s: %w", name, err))
		}
		count, err := f.shards()
		if err != nil {
			return abandon(fmt.Errorf("%s: %w", name, err))
		}
		if no != uint64(i) || count != n {
			return abandon(fmt.Errorf("%w: %s says that it is shard %d (counted from 0) of %d", ErrFormat, name, no, count))
		}
	}
	first := all[0]
	first.header = nil
	for _, f := range all[1:] {
		for _, t := range f.tensors {
			if _, dup := first.byName[t.Name]; dup {
				return abandon(fmt.Errorf("%w: tensor %q is in two shards", ErrFormat, t.Name))
			}
			first.byName[t.Name] = len(first.tensors)
			first.tensors = append(first.tensors, t)
		}
	}
	if want, err := Or(uint64(len(first.tensors)))(first.Uint("split.tensors.count")); err != nil {
		return abandon(err)
	} else if want != uint64(len(first.tensors)) {
		return abandon(fmt.Errorf("%w: the shards have %d tensors, split.tensors.count says %d", ErrFormat, len(first.tensors), want))
	}
	for _, f := range all[1:] {
		first.files.Take(&f.files)
	}
	return first, nil
}
