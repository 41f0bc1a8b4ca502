package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/krserve/krserve"
)

// A chat is a conversation on a terminal. Ctrl-C ends an answer, not the program; Ctrl-D ends the program.
type chat struct {
	c      *call
	e      *krserve.Engine
	req    krserve.Request // sampling
	system string
	turns  []krserve.Message
	lines  chan string // what the user types; closed at the end of the input
	ctrlC  chan os.Signal
}

func newChat(c *call, e *krserve.Engine, req krserve.Request, system string) *chat {
	return &chat{c: c, e: e, req: req, system: system, lines: make(chan string), ctrlC: make(chan os.Signal, 1)}
}

const chatHelp = "Ctrl-C ends an answer, Ctrl-D the chat; /clear forgets what was said."

func (h *chat) loop(ctx context.Context) error {
	signal.Notify(h.ctrlC, os.Interrupt)
	defer signal.Stop(h.ctrlC)
	go h.read()
	h.note(chatHelp)
	for {
		h.prompt()
		var line string
		select {
		case <-h.ctrlC:
			fmt.Fprintln(h.c.stdout)
			h.note(chatHelp)
			continue
		case l, open := <-h.lines:
			if !open {
				fmt.Fprintln(h.c.stdout)
				return nil
			}
			line = strings.TrimSpace(l)
		}
		switch line {
		case "":
			continue
		case "/exit", "/quit", "/bye":
			return nil
		case "/clear":
			h.turns = nil
			continue
		}
		if err := h.answer(ctx, line); err != nil {
			return err
		}
	}
}

// read passes on the user's lines; the reading goroutine ends with the program.
func (h *chat) read() {
	defer close(h.lines)
	r := bufio.NewReader(h.c.stdin)
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			h.lines <- line
		}
		if err != nil {
			return
		}
	}
}

// answer streams one answer. When the conversation has outgrown the context, its oldest turns go.
func (h *chat) answer(ctx context.Context, line string) error {
	h.turns = append(h.turns, krserve.Message{Role: "user", Content: line})
	for {
		text, err := h.stream(ctx)
		switch {
		case errors.Is(err, krserve.ErrContextLength) && len(h.turns) > 2:
			h.turns = h.turns[2:]
			h.note("(the context is full: the oldest turn is forgotten)")
			continue
		case errors.Is(err, krserve.ErrContextLength), errors.Is(err, krserve.ErrTemplate):
			h.turns = h.turns[:len(h.turns)-1]
			h.note(oneLine(err.Error()))
			return nil
		case errors.Is(err, context.Canceled): // what was said before Ctrl-C stays said
		case err != nil:
			return err
		}
		h.turns = append(h.turns, krserve.Message{Role: "assistant", Content: text})
		return nil
	}
}

// stream prints one answer, up to its end or Ctrl-C.
func (h *chat) stream(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-h.ctrlC:
			cancel()
		case <-ended:
		}
	}()
	req := h.req
	req.Messages = conversation(h.system, h.turns...)
	return stream(ctx, h.e, req, h.c.stdout)
}

func (h *chat) prompt() { io.WriteString(h.c.stdout, "> ") }

// note tells the user something that is not part of the conversation, dimmed where colour is welcome.
func (h *chat) note(text string) {
	if os.Getenv("NO_COLOR") == "" && isTerminal(h.c.stdout) && os.Getenv("TERM") != "dumb" {
		text = "\x1b[2m" + text + "\x1b[0m"
	}
	fmt.Fprintln(h.c.stdout, text)
}
