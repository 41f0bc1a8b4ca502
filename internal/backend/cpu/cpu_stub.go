//go:build !cgo || purego || windows

package cpu

import "github.com/krserve/krserve/internal/backend"

// New returns ErrNotBuilt.
func New() (backend.Backend, error) { return nil, ErrNotBuilt }

// Variants lists no kernels.
func Variants() (names []string, usable []bool) { return nil, nil }
