package main

import (
	"context"
	"fmt"

	"github.com/krserve/krserve"
)

// runPull fetches a named model and prints its path.
func runPull(ctx context.Context, c *call) error {
	names, err := c.parse("pull NAME >PATH")
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return usage("pull takes one model name: smollm2, gemma3-270m or hf:ORG/REPO[/FILE]")
	}
	bar := newProgress(c.stderr)
	hub := hubFromEnv()
	hub.Progress = bar.update
	path, err := krserve.Pull(ctx, names[0], hub)
	bar.done()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, path)
	return err
}
