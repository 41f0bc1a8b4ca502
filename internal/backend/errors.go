package backend

import "errors"

// Errors that Load wraps, so that callers can tell them apart.
var (
	// ErrMemory says that the memory planned for the limits cannot be had; the text says how much.
	ErrMemory = errors.New("not enough memory")
	// ErrUnsupported says that the backend lacks an operation, storage type or kernel of that name.
	ErrUnsupported = errors.New("unsupported")
)
