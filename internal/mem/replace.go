package mem

import (
	"os"
	"path/filepath"
)

// Replace puts a file in place as a whole or not at all; its folder is made if need be. write gets an empty file beside it, whose
// name matches temp as os.CreateTemp has it. Others may do the same at the same time: the last one stays. A process that is
// killed meanwhile leaves the file beside.
func Replace(path, temp string, write func(*os.File) error) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, temp)
	if err != nil {
		return err
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
