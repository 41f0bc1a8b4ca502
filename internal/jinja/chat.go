package jinja

// Chat is the input of a chat template as transformers' apply_chat_template takes it.
type Chat struct {
	Messages            Value // list of dicts
	Tools               Value // list of dicts, or None
	Documents           Value // list of dicts, or None
	AddGenerationPrompt bool
	// Special maps names such as bos_token to the spelling of special tokens.
	Special *Dict
	// Kwargs are further variables; they override Special.
	Kwargs *Dict
}

// reasoningFields are the names under which a message's reasoning is passed, the preferred one first.
var reasoningFields = [...]string{"reasoning_content", "thinking", "reasoning"}

// Vars returns the variables of the template: messages without keys whose value is None and with reasoning under
// the names that templates read, as transformers 5 passes them. A role that is a plain word counts as trusted, so
// that templates may build special tokens from it.
func (c *Chat) Vars() (*Dict, error) {
	none := func(v Value) Value {
		if v.k == KindMissing {
			return None
		}
		return v
	}
	if c.Messages.k != KindList {
		return nil, typeErr("messages must be a list, not %s", typeName(c.Messages))
	}
	in := c.Messages.items()
	if len(in) == 0 {
		return nil, valueErr("Cannot apply chat template to an empty conversation. Provide at least one message.")
	}
	out := make([]Value, len(in))
	for i, m := range in {
		if m.k != KindDict {
			return nil, typeErr("message %d must be an object, not %s", i, typeName(m))
		}
		out[i] = normalizeMessage(m.dict()).Value()
	}
	n := 4
	if c.Special != nil {
		n += c.Special.Len()
	}
	if c.Kwargs != nil {
		n += c.Kwargs.Len()
	}
	vars := NewDict(n)
	vars.Set("messages", NewList(out))
	vars.Set("tools", none(c.Tools))
	vars.Set("documents", none(c.Documents))
	vars.Set("add_generation_prompt", Bool(c.AddGenerationPrompt))
	for _, more := range []*Dict{c.Special, c.Kwargs} {
		if more == nil {
			continue
		}
		for _, e := range more.entries {
			switch e.key.s {
			case "messages", "tools", "add_generation_prompt":
				return nil, typeErr("%s is not a template variable to set", e.key.s)
			}
			if err := vars.setValue(e.key, e.val); err != nil {
				return nil, err
			}
		}
	}
	return vars, nil
}

func normalizeMessage(m *Dict) *Dict {
	var reasoning Value
	for _, f := range reasoningFields {
		if v, ok := m.getString(f); ok && v.k != KindNone {
			reasoning = v
			break
		}
	}
	d := NewDict(len(m.entries) + 2)
	if reasoning.k != KindMissing {
		d.Set("thinking", reasoning)
	}
	for _, e := range m.entries {
		if e.val.k == KindNone {
			continue
		}
		if e.key.s == "role" && e.val.k == KindString && plainWord(e.val.s) {
			e.val = String(e.val.s)
		}
		d.setValue(e.key, e.val)
	}
	if reasoning.k != KindMissing {
		d.Set("reasoning_content", reasoning)
	}
	return d
}

// plainWord reports whether s is a short word of letters, digits, '_' and '-', which spells no special token.
func plainWord(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || decimal(c) || c == '_' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 32
}
