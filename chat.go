package krserve

import (
	"bytes"
	"encoding/json"

	"github.com/krserve/krserve/tokenizer"
)

// Render returns the prompt that the model's chat template makes of Messages, Tools and Kwargs. Errors wrap ErrInvalid
// and name the field, ErrNoTemplate or ErrTemplate.
func (e *Engine) Render(r Request) (string, error) {
	if r.Messages == nil {
		return "", startError(invalid("Request.Messages", "empty"))
	}
	out, err := e.render(&r)
	if err != nil {
		return "", startError(err)
	}
	return out.Text, nil
}

// encodeChat renders and encodes Messages. Special tokens that come from the template are recognised; spelled in the
// content they are plain text, unless AllowSpecial is set.
func (e *Engine) encodeChat(r *Request) ([]uint32, error) {
	out, err := e.render(r)
	if err != nil {
		return nil, err
	}
	return e.encodeFrom(r, out, 0)
}

// encodeFrom encodes a rendered chat from a byte on.
func (e *Engine) encodeFrom(r *Request, out *tokenizer.Rendered, from int) ([]uint32, error) {
	var o tokenizer.Options
	if !r.AllowSpecial {
		for _, s := range out.Plain {
			if s.End > from {
				o.Plain = append(o.Plain, tokenizer.Span{Start: max(s.Start, from) - from, End: s.End - from})
			}
		}
	}
	return e.tok.EncodeWith(out.Text[from:], o)
}

func (e *Engine) render(r *Request) (*tokenizer.Rendered, error) {
	if err := checkMessages(r); err != nil {
		return nil, err
	}
	if e.template == nil {
		return nil, ErrNoTemplate
	}
	messages, err := json.Marshal(r.Messages)
	if err != nil {
		return nil, invalid("Request.Messages", "%v", err)
	}
	return e.template.Render(tokenizer.Chat{Messages: messages, Tools: r.Tools, Kwargs: r.Kwargs, AddGenerationPrompt: true})
}

// MarshalJSON gives the object that a chat template reads. Fields of Extra override the others, so that content may be a
// list of parts.
func (m Message) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}{m.Role, m.Content})
	if err != nil {
		return nil, err
	}
	extra := bytes.TrimSpace(m.Extra)
	if len(extra) < 2 || extra[0] != '{' || len(bytes.TrimSpace(extra[1:len(extra)-1])) == 0 {
		return b, nil
	}
	// A later field of one name is the one that counts.
	return append(append(b[:len(b)-1], ','), extra[1:]...), nil
}
