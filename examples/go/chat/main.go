// Command chat streams a model's answer: go run ./examples/go/chat MODEL PROMPT. Ctrl-C ends the answer.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/krserve/krserve"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: chat MODEL PROMPT")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := chat(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func chat(ctx context.Context, model, prompt string) error {
	engine, err := krserve.Open(ctx, krserve.Config{Model: model, Fetch: true})
	if err != nil {
		return err
	}
	defer engine.Close()
	stream, err := engine.Start(ctx, krserve.Request{
		Messages:  []krserve.Message{{Role: "user", Content: prompt}},
		MaxTokens: 200,
	})
	if err != nil {
		return err
	}
	for token, err := range stream.All() {
		if err != nil {
			return err
		}
		fmt.Print(token.Text)
	}
	usage := stream.Usage()
	fmt.Fprintf(os.Stderr, "\n%d tokens in, %d out\n", usage.PromptTokens, usage.CompletionTokens)
	return nil
}
