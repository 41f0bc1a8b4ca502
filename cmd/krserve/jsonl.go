package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/krserve/krserve/internal/jinja"
)

// jsonLines answers every line of in by one line of out, in order. A line that answer refuses becomes {"error": …}.
// Lines have any length. Answers are flushed when no further whole line is waiting, so that a program at the other
// end of two pipes gets each answer before it writes on.
func jsonLines(in io.Reader, out io.Writer, answer func(line []byte) (any, error)) error {
	r := bufio.NewReaderSize(in, 64<<10)
	w := bufio.NewWriterSize(out, 64<<10)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(line) == 0 { // only at the end
			return w.Flush()
		}
		if err := answerLine(enc, w, bytes.TrimRight(line, "\r\n"), answer); err != nil {
			return err
		}
		if waiting, _ := r.Peek(r.Buffered()); bytes.IndexByte(waiting, '\n') < 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
		if err != nil {
			return w.Flush()
		}
	}
}

// rawLine is an answer that is JSON already.
type rawLine []byte

func answerLine(enc *json.Encoder, w *bufio.Writer, line []byte, answer func([]byte) (any, error)) error {
	v, err := answer(line)
	if err != nil {
		v = lineError(err)
	}
	if raw, ok := v.(rawLine); ok {
		_, err := w.Write(append(raw, '\n'))
		return err
	}
	if err := enc.Encode(v); err != nil {
		var unsupported *json.UnsupportedValueError
		if errors.As(err, &unsupported) { // a value that JSON lacks, such as NaN
			return enc.Encode(lineError(err))
		}
		return err
	}
	return nil
}

// lineError is the answer to a bad line. A template's error is Python's, its line apart.
func lineError(err error) any {
	out := struct {
		Error string `json:"error"`
		Line  int    `json:"template_line,omitempty"`
	}{Error: err.Error()}
	var t *jinja.Error
	if errors.As(err, &t) {
		out.Error, out.Line = t.Type+": "+t.Msg, t.Line
	}
	return out
}

// object reads a line that must be one JSON object, or says what is wrong with it.
func object(line []byte, into any) error {
	trimmed := bytes.TrimSpace(line)
	if len(trimmed) == 0 {
		return errors.New("empty line, want a JSON object")
	}
	if trimmed[0] != '{' {
		return errors.New("not a JSON object")
	}
	if err := json.Unmarshal(trimmed, into); err != nil {
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &syntax):
			return fmt.Errorf("JSON at byte %d: %v", syntax.Offset, syntax)
		case errors.As(err, &kind):
			return fmt.Errorf("field %q: %s where %s is wanted", kind.Field, kind.Value, kind.Type)
		}
		return err
	}
	return nil
}
