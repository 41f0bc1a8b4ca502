//go:build cgo

package main

// #include "krserve.h"
import "C"

import (
	"encoding/json"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/tokenizer"
)

// chatOf copies a caller's chat into the template's terms.
func chatOf(p *C.kr_template_params) (tokenizer.Chat, error) {
	chat := tokenizer.Chat{AddGenerationPrompt: p.flags&C.KR_NO_GENERATION_PROMPT == 0}
	messages, err := messagesOf(p.messages, p.n_messages)
	if err != nil {
		return chat, err
	}
	if chat.Messages, err = json.Marshal(messages); err != nil {
		return chat, invalid("messages: %v", err)
	}
	if chat.Tools, err = object(p.tools, '[', "tools"); err != nil {
		return chat, err
	}
	chat.Kwargs, err = object(p.kwargs, '{', "kwargs")
	return chat, err
}

// A vocabulary is what a kr_tokenizer handle stands for.
type vocabulary struct{ *tokenizer.Tokenizer }

func newVocabulary(t *tokenizer.Tokenizer) *vocabulary { return &vocabulary{t} }

// render renders a chat as the engine does.
func (v *vocabulary) render(c tokenizer.Chat) (string, error) {
	template, has := v.ChatTemplate()
	if !has {
		return "", krserve.ErrNoTemplate
	}
	out, err := template.Render(c)
	if err != nil {
		return "", err
	}
	return out.Text, nil
}
