package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/term"

	"github.com/krserve/krserve"
)

// defaultModel is what run takes without -model: small enough to fetch while one waits.
const defaultModel = "smollm2"

func runRun(ctx context.Context, c *call) error {
	m := modelFlags(c)
	var (
		n      = c.flags.Int("n", 0, "most tokens of an answer; 0 is until the model stops or the context ends")
		temp   = c.flags.Float64("temp", 0, "temperature; 0 is greedy")
		topK   = c.flags.Int("top-k", 0, "sample among this many best tokens; 0 is off")
		topP   = c.flags.Float64("top-p", 0, "sample among the best tokens of this total probability; 0 is off")
		seed   = c.flags.Uint64("seed", 0, "random seed; 0 is a fresh one")
		raw    = c.flags.Bool("raw", false, "continue the prompt as it is, without the chat template")
		system = c.flags.String("system", "", "system message")
	)
	words, err := c.parse("run [-model M] [-kv f16|q8_0|q4] [-n N] [-temp T] [-seed S] [-raw] [-system S] [PROMPT]")
	if err != nil {
		return err
	}
	if m.model == "" {
		m.model = defaultModel
	}
	req := krserve.Request{MaxTokens: *n, Temperature: float32(*temp), TopK: *topK, TopP: float32(*topP), Seed: *seed}
	if *raw && *system != "" {
		return usage("-system needs the chat template, which -raw leaves out")
	}
	prompt := strings.Join(words, " ")
	chat := false
	if len(words) == 0 {
		if chat = isTerminal(c.stdin) && isTerminal(c.stdout); !chat {
			text, err := io.ReadAll(c.stdin)
			if err != nil {
				return err
			}
			prompt = strings.TrimRight(string(text), "\n")
		}
	}
	if !chat && prompt == "" {
		return usage("the prompt is empty")
	}
	if chat && *raw {
		return usage("-raw needs a PROMPT")
	}
	e, err := m.open(ctx, c)
	if err != nil {
		return err
	}
	defer e.Close()
	if chat {
		return newChat(c, e, req, *system).loop(ctx)
	}
	if *raw {
		req.Raw = prompt
	} else {
		req.Messages = conversation(*system, krserve.Message{Role: "user", Content: prompt})
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	_, err = stream(ctx, e, req, c.stdout)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

func conversation(system string, turns ...krserve.Message) []krserve.Message {
	if system == "" {
		return turns
	}
	return append([]krserve.Message{{Role: "system", Content: system}}, turns...)
}

// stream prints an answer as it comes, ends its line, and returns its text.
func stream(ctx context.Context, e *krserve.Engine, req krserve.Request, w io.Writer) (string, error) {
	st, err := e.Start(ctx, req)
	if err != nil {
		return "", err
	}
	defer st.Close()
	var text strings.Builder
	for tok, err := range st.All() {
		if err != nil {
			fmt.Fprintln(w)
			return text.String(), err
		}
		text.WriteString(tok.Text)
		if _, err := io.WriteString(w, tok.Text); err != nil {
			return text.String(), err
		}
	}
	if !strings.HasSuffix(text.String(), "\n") {
		_, err = fmt.Fprintln(w)
	}
	return text.String(), err
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
