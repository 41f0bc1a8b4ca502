// Package jinja renders chat templates: the subset and the exact environment of Jinja2 that Hugging Face
// transformers gives them (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loop controls, generation
// blocks, tojson as Python's json.dumps, raise_exception, strftime_now).
//
// A template comes with an untrusted model file, so rendering is bounded: steps, call depth, output bytes and
// bytes of intermediate values each have a budget, and passing one is an error of type "BudgetError".
//
// Every string remembers which of its bytes came from the caller's data (Value.Tainted). Render reports these
// ranges of the output, so that a tokenizer can read special tokens spelled there as plain text.
//
// A Template is immutable and safe for concurrent use.
package jinja

import (
	"errors"
	"fmt"
)

// Error is what a template did wrong. Type is the name of the exception that Python raises, such as
// "UndefinedError" or "TypeError"; "TemplateError" is raise_exception; "BudgetError" has no counterpart.
type Error struct {
	Type string
	Msg  string
	Line int // line in the template, from 1; 0 is unknown
}

func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s: %s (template line %d)", e.Type, e.Msg, e.Line)
	}
	return e.Type + ": " + e.Msg
}

// ErrBudget is matched through errors.Is by errors of types "BudgetError" and "RecursionError".
var ErrBudget = errors.New("jinja: budget exceeded")

// Is makes errors.Is(err, ErrBudget) hold for budget errors.
func (e *Error) Is(target error) bool {
	return target == ErrBudget && (e.Type == "BudgetError" || e.Type == "RecursionError")
}

func errf(typ, format string, args ...any) error {
	return &Error{Type: typ, Msg: fmt.Sprintf(format, args...)}
}

func typeErr(format string, args ...any) error   { return errf("TypeError", format, args...) }
func valueErr(format string, args ...any) error  { return errf("ValueError", format, args...) }
func filterErr(format string, args ...any) error { return errf("FilterArgumentError", format, args...) }
func budgetErr(what string) error                { return errf("BudgetError", "%s", what) }

// withLine notes where an error happened, once: the innermost place wins.
func withLine(err error, line int) error {
	if e, ok := err.(*Error); ok && e.Line == 0 {
		c := *e
		c.Line = line
		return &c
	}
	return err
}
