package krserve

import (
	"encoding/json"
	"testing"
)

// TestMessageJSON: a message is the object that templates read, whatever Extra holds.
func TestMessageJSON(t *testing.T) {
	for _, c := range []struct{ extra, want string }{
		{``, `{"role":"r","content":"\u003cc\u003e"}`},
		{`{}`, `{"role":"r","content":"\u003cc\u003e"}`},
		{" { \n } ", `{"role":"r","content":"\u003cc\u003e"}`},
		{` {"a": [1, "x"]} `, `{"role":"r","content":"\u003cc\u003e","a":[1,"x"]}`},
		{`{"content": null}`, `{"role":"r","content":"\u003cc\u003e","content":null}`},
	} {
		m := Message{Role: "r", Content: "<c>"}
		if c.extra != "" {
			m.Extra = json.RawMessage(c.extra)
		}
		b, err := json.Marshal([]Message{m})
		if err != nil || string(b) != "["+c.want+"]" {
			t.Errorf("%q: %s, %v, want %s", c.extra, b, err, c.want)
		}
	}
	if _, err := json.Marshal(Message{Extra: json.RawMessage(`{"a"}`)}); err == nil {
		t.Error("malformed Extra is accepted")
	}
}
