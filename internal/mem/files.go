package mem

import (
	"errors"
	"sync"
)

// Files are mapped files that belong together, such as the shards of a model. The zero value holds none. Its methods are
// safe for concurrent use.
type Files struct {
	mu   sync.Mutex
	maps []*Mapping
}

// Add takes a mapping over, to be closed with the others.
func (f *Files) Add(m *Mapping) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.maps = append(f.maps, m)
}

// Take takes over what other holds.
func (f *Files) Take(other *Files) {
	other.mu.Lock()
	maps := other.maps
	other.maps = nil
	other.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.maps = append(f.maps, maps...)
}

// Stamp tells the files as they were when they were mapped from what they were or will be.
func (f *Files) Stamp() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := ""
	for _, m := range f.maps {
		s += m.Stamp() + "\n"
	}
	return s
}

// Forget lets go of the memory of data, a part of the files, until it is read again.
func (f *Files) Forget(data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.maps {
		m.Forget(data)
	}
}

// Close unmaps the files. Their bytes must not be used afterwards. Further calls do nothing.
func (f *Files) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, m := range f.maps {
		errs = append(errs, m.Close())
	}
	f.maps = nil
	return errors.Join(errs...)
}
