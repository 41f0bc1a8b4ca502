package krserve

import (
	"context"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
	"github.com/krserve/krserve/internal/testmodel"
	"github.com/krserve/krserve/tokenizer"
)

// script masks all but one text, spelled letter by letter where it can be: not as the tokenizer would.
func script(t *testing.T, tok *Tokenizer, text string) func([]uint32, []uint64) error {
	t.Helper()
	var ids []uint32
	for _, id := range tok.Encode(text) {
		piece := tok.Decode([]uint32{id})
		if tok.IsSpecial(id) || strings.HasPrefix(piece, "<") {
			ids = append(ids, id)
			continue
		}
		for _, r := range piece {
			ids = append(ids, tok.Encode(string(r))...)
		}
	}
	return func(answer []uint32, allowed []uint64) error {
		id := ids[min(len(answer), len(ids)-1)]
		clear(allowed)
		allowed[id/64] = 1 << (id % 64)
		return nil
	}
}

// TestTemplateDrift: Qwen3's template drops the thoughts of earlier turns. A session then still finds everything before
// the dropped thought, earlier answers in the tokens in which they were drawn included.
func TestTemplateDrift(t *testing.T) {
	tok, err := tokenizer.Open(testenv.Tokenizer(t, "qwen3"))
	if err != nil {
		t.Fatal(err)
	}
	m := testmodel.NewHash(tok.Size(), stepRows, 200)
	e, err := newEngine(Config{}, tok, Info{Vocab: tok.Size(), Trained: 4000, Context: 4000}, tok.EndIDs(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.template == nil {
		t.Fatal("no template")
	}
	s, err := e.NewSession(Request{Messages: []Message{{Role: "system", Content: strings.Repeat("Be kind. ", 20)}}})
	if err != nil {
		t.Fatal(err)
	}
	answers := []string{"Hello there, friend.<|im_end|>", "<think>\nA long thought about it.\n</think>\n\nIt is four.<|im_end|>", "<think>\nMore.\n</think>\n\nGood.<|im_end|>", "Bye.<|im_end|>"}
	var input []uint32 // the last prompt
	for i, answer := range answers {
		s.base.Mask = script(t, tok, answer)
		r := say(t, s, "Question number "+string(rune('0'+i))+".")
		want := strings.TrimSuffix(answer, "<|im_end|>")
		if r.Text != want || r.FinishReason != FinishStop {
			t.Fatalf("turn %d: %q, %s", i, r.Text, r.FinishReason)
		}
		now := s.given.input
		same := 0
		for same < len(now) && same < len(input) && now[same] == input[same] {
			same++
		}
		if got := tok.Decode(now); got != s.given.prompt {
			t.Errorf("turn %d: the tokens say %q, the prompt is %q", i, got, s.given.prompt)
		}
		switch {
		case i > 0 && strings.HasPrefix(answers[i-1], "<think>"):
			// All of the prompt before; the thought that followed is gone.
			if same < len(input)-3 || r.Usage.CachedTokens < same {
				t.Errorf("turn %d: %d tokens of the last prompt's %d kept, %d cached", i, same, len(input), r.Usage.CachedTokens)
			}
		case i > 0:
			if drawn := len(strings.TrimSuffix(answers[i-1], "<|im_end|>")); same < len(input) || r.Usage.CachedTokens < len(input)+drawn {
				t.Errorf("turn %d: %d tokens of the last prompt's %d kept, %d cached", i, same, len(input), r.Usage.CachedTokens)
			}
		}
		input = now
		s.Messages()
	}
	// A rewritten system prompt leaves nothing but what is before it.
	s.turns[0].Content = "Be rude."
	s.base.Mask = script(t, tok, "No.<|im_end|>")
	if r := say(t, s, "Well?"); r.Text != "No." || r.Usage.CachedTokens > 10 {
		t.Errorf("%q with %+v", r.Text, r.Usage)
	}
}

// TestMaskSteersAnswers: a mask of the request bounds what a real model says, with temperature and log-probabilities.
func TestMaskSteersAnswers(t *testing.T) {
	e := openModel(t, Config{Model: testenv.SmolLM2(t), ContextTokens: 256})
	digits := make([]uint64, (e.Info().Vocab+63)/64)
	for _, d := range "0123456789" {
		id := e.Tokenizer().Encode(string(d))[0]
		digits[id/64] |= 1 << (id % 64)
	}
	r, err := e.Generate(context.Background(), Request{Raw: "The year is", MaxTokens: 12, Temperature: 1.5, Seed: 4, LogProbs: true,
		Mask: func(_ []uint32, allowed []uint64) error {
			for i := range allowed {
				allowed[i] &= digits[i]
			}
			return nil
		}})
	if err != nil || len(r.Text) != 12 || strings.Trim(r.Text, "0123456789") != "" || r.Tokens[0].LogProb >= 0 {
		t.Errorf("%q, %v", r.Text, err)
	}
}
