package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/tokenizer"
)

// status is a kr_status. The numbers are those of krserve.h, which a test compares.
type status int32

const (
	ok             status = 0
	done           status = 1
	timeout        status = 2
	errInvalid     status = -1
	errClosed      status = -2
	errBuffer      status = -3
	errNotFound    status = -4
	errFormat      status = -5
	errUnsupported status = -6
	errContext     status = -7
	errNoTemplate  status = -8
	errTemplate    status = -9
	errMemory      status = -10
	errBackend     status = -11
	errCancelled   status = -12
	errIO          status = -13
	errBusy        status = -14
	errInternal    status = -99
)

// statuses is the one table between Go's sentinels and kr_status, read in order: what is more telling stands first.
// A status without a sentinel arises in this package only.
var statuses = []struct {
	status   status
	name     string
	sentinel error
}{
	{ok, "KR_OK", nil},
	{done, "KR_DONE", nil},
	{timeout, "KR_TIMEOUT", nil},
	{errBuffer, "KR_ERR_BUFFER", nil},
	{errClosed, "KR_ERR_CLOSED", krserve.ErrClosed},
	{errCancelled, "KR_ERR_CANCELLED", context.Canceled},
	{errCancelled, "KR_ERR_CANCELLED", context.DeadlineExceeded},
	{errContext, "KR_ERR_CONTEXT", krserve.ErrContextLength},
	{errNoTemplate, "KR_ERR_NO_TEMPLATE", krserve.ErrNoTemplate},
	{errTemplate, "KR_ERR_TEMPLATE", krserve.ErrTemplate},
	{errTemplate, "KR_ERR_TEMPLATE", tokenizer.ErrTemplate},
	{errMemory, "KR_ERR_MEMORY", krserve.ErrMemory},
	{errBackend, "KR_ERR_BACKEND", krserve.ErrBackend},
	{errUnsupported, "KR_ERR_UNSUPPORTED", krserve.ErrUnsupported},
	{errUnsupported, "KR_ERR_UNSUPPORTED", tokenizer.ErrUnsupported},
	{errFormat, "KR_ERR_FORMAT", krserve.ErrFormat},
	{errFormat, "KR_ERR_FORMAT", tokenizer.ErrFormat},
	{errBusy, "KR_ERR_BUSY", krserve.ErrBusy},
	{errNotFound, "KR_ERR_NOT_FOUND", krserve.ErrNotFound},
	{errNotFound, "KR_ERR_NOT_FOUND", fs.ErrNotExist},
	{errInvalid, "KR_ERR_INVALID", krserve.ErrInvalid},
	{errInvalid, "KR_ERR_INVALID", tokenizer.ErrOptions},
	{errIO, "KR_ERR_IO", krserve.ErrFetch},
	{errIO, "KR_ERR_IO", fs.ErrPermission},
	{errInternal, "KR_ERR_INTERNAL", nil},
}

// statusOf returns the status of an error. An error of no known kind that a system call or the network caused is
// KR_ERR_IO, any other KR_ERR_INTERNAL.
func statusOf(err error) status {
	if err == nil {
		return ok
	}
	var own *callError
	if errors.As(err, &own) {
		return own.status
	}
	for _, e := range statuses {
		if e.sentinel != nil && errors.Is(err, e.sentinel) {
			return e.status
		}
	}
	var special *tokenizer.SpecialTokenError
	if errors.As(err, &special) {
		return errInvalid
	}
	var (
		path    *fs.PathError
		network net.Error
		link    *url.Error
	)
	if errors.As(err, &path) || errors.As(err, &network) || errors.As(err, &link) {
		return errIO
	}
	return errInternal
}

func (s status) String() string {
	for _, e := range statuses {
		if e.status == s {
			return e.name
		}
	}
	return "KR_UNKNOWN"
}

// callError is a failure that this package found itself.
type callError struct {
	status status
	text   string
}

func (e *callError) Error() string { return e.text }

func invalid(format string, args ...any) error {
	return &callError{errInvalid, fmt.Sprintf(format, args...)}
}

func closed(format string, args ...any) error {
	return &callError{errClosed, fmt.Sprintf(format, args...)}
}
