package krserve

import (
	"errors"

	"github.com/krserve/krserve/tokenizer"
)

// Sentinel errors, to be tested with errors.Is.
var (
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("krserve: closed")
	// ErrInvalid is returned when a field of Config or Request is out of range; the text names it.
	ErrInvalid = errors.New("krserve: invalid argument")
	// ErrNotFound is returned when a model name or file does not exist, or is not in the cache and may not be fetched.
	ErrNotFound = errors.New("krserve: not found")
	// ErrFetch is returned when a named model cannot be fetched: no network, a failing server, no access.
	ErrFetch = errors.New("krserve: fetch failed")
	// ErrFormat is returned when a file is damaged or of an unknown kind.
	ErrFormat = errors.New("krserve: malformed file")
	// ErrUnsupported is returned for a model, storage type, backend or kernel that this build lacks.
	ErrUnsupported = errors.New("krserve: unsupported")
	// ErrBusy is returned by Start when as many requests as Config.MaxQueue wait already.
	ErrBusy = errors.New("krserve: too many requests wait")
	// ErrContextLength is returned by Start when the prompt leaves no room for an answer.
	ErrContextLength = errors.New("krserve: prompt exceeds the context")
	// ErrNoTemplate is returned for Messages on a model without a chat template; use Request.Raw instead.
	ErrNoTemplate = errors.New("krserve: the model has no chat template; use Request.Raw")
	// ErrTemplate is returned when the chat template rejects the messages.
	ErrTemplate = tokenizer.ErrTemplate
	// ErrMemory is returned by Open when the model does not fit the memory that it may use.
	ErrMemory = errors.New("krserve: not enough memory")
	// ErrBackend is returned when a step fails in the backend.
	ErrBackend = errors.New("krserve: backend failure")
)

// Error carries what was done to what, and why it failed.
type Error struct {
	Op   string // "open", "start", "step", …
	Path string // file, model or field; may be empty
	Err  error
}

func (e *Error) Error() string {
	s := "krserve: " + e.Op
	if e.Path != "" {
		s += " " + e.Path
	}
	return s + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }
