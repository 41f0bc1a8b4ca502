package backend

import (
	"sort"
	"sync"
)

var registry struct {
	sync.RWMutex
	entries []entry
}

type entry struct {
	b    Backend
	rank int
}

// Register adds a backend under its Name; packages call it from init. A higher rank is preferred by Lookup("").
// A second backend of one name replaces the first.
func Register(b Backend, rank int) {
	registry.Lock()
	defer registry.Unlock()
	e := registry.entries[:0:0]
	for _, old := range registry.entries {
		if old.b.Name() != b.Name() {
			e = append(e, old)
		}
	}
	e = append(e, entry{b, rank})
	sort.SliceStable(e, func(i, j int) bool { return e[i].rank > e[j].rank })
	registry.entries = e
}

// Lookup returns the backend of a name; "" is the one of highest rank.
func Lookup(name string) (Backend, bool) {
	registry.RLock()
	defer registry.RUnlock()
	for _, e := range registry.entries {
		if name == "" || e.b.Name() == name {
			return e.b, true
		}
	}
	return nil, false
}

// Names lists the registered backends, preferred first.
func Names() []string {
	registry.RLock()
	defer registry.RUnlock()
	names := make([]string, len(registry.entries))
	for i, e := range registry.entries {
		names[i] = e.b.Name()
	}
	return names
}
