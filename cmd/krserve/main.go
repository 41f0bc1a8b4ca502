// Command krserve runs language models from the command line. `krserve help` lists its commands.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// A command reads its flags and does its work. Its error becomes one line on stderr and the exit status.
type command struct {
	name, args, summary string
	run                 func(ctx context.Context, c *call) error
}

var commands []command

func init() {
	commands = []command{
		{"pull", "NAME", "fetch a named model once and print its path", runPull},
		{"run", "[PROMPT]", "answer a prompt, or chat on a terminal", runRun},
		{"tokenize", "", `JSON lines: {"text"} to {"ids"}, or back with -decode`, runTokenize},
		{"template", "", `JSON lines: {"messages", …} to {"text"}`, runTemplate},
		{"score", "", `JSON lines: {"ids" or "text"} to log-probabilities`, runScore},
		{"bench", "[tokenizer|multi-turn|kv|prefix]", "measure a model, a tokenizer, chats that go on, long prompts again, or storage types of keys and values", runBench},
		{"canary", "simulate", "how often and how soon a rollout policy rolls back invented canaries", runCanary},
		{"abtest", "analyze|power", "judge an experiment, or plan one", runABTest},
		{"regress", "run|compare|history", "tell whether benchmarks have become slower", runRegress},
		{"doctor", "", "what this machine has, and a self-test of every kernel", runDoctor},
		{"version", "", "print the version", runVersion},
	}
}

// call is what a command works with.
type call struct {
	flags  *flag.FlagSet
	args   []string // what follows the command's name
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// finding is what a command was asked to look for and found: exit status 3.
type finding string

func (f finding) Error() string { return string(f) }

// usageError is a wrong command line: exit status 2.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

func main() { os.Exit(dispatch(os.Args[1:])) }

// dispatch runs one command and returns the exit status: 0 ok, 1 failure, 2 usage, 3 a regression.
func dispatch(args []string) int {
	if len(args) == 0 {
		help(os.Stderr)
		return 2
	}
	name := strings.TrimLeft(args[0], "-")
	if name == "help" || name == "h" {
		help(os.Stdout)
		return 0
	}
	for _, c := range commands {
		if c.name != name {
			continue
		}
		err := c.run(context.Background(), newCall(c, args[1:]))
		var wrong *usageError
		var found finding
		switch {
		case err == nil:
			return 0
		case errors.Is(err, flag.ErrHelp):
			return 0
		case errors.As(err, &wrong):
			fmt.Fprintf(os.Stderr, "krserve %s: %s (krserve %s -h)\n", name, wrong.text, name)
			return 2
		case errors.As(err, &found):
			fmt.Fprintf(os.Stderr, "krserve %s: %s\n", name, found)
			return 3
		}
		fmt.Fprintf(os.Stderr, "krserve %s: %s\n", name, oneLine(err.Error()))
		return 1
	}
	fmt.Fprintf(os.Stderr, "krserve: no command %q (krserve help)\n", args[0])
	return 2
}

func newCall(c command, args []string) *call {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are ours to print
	fs.Usage = func() {}
	k := &call{flags: fs, args: args, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	return k
}

// parse reads the flags, which may stand before and behind other arguments; what follows "--" is no flag. It returns
// the other arguments.
func (c *call) parse(synopsis string) ([]string, error) {
	var rest []string
	args := c.args
	for {
		if err := c.flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fmt.Fprintf(c.stdout, "usage: krserve %s\n", synopsis)
				c.flags.SetOutput(c.stdout)
				c.flags.PrintDefaults()
				return nil, err
			}
			return nil, usage("%v", err)
		}
		left := c.flags.Args()
		if consumed := len(args) - len(left); consumed > 0 && args[consumed-1] == "--" {
			return append(rest, left...), nil
		}
		if len(left) == 0 {
			return rest, nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

// parseOnly is parse for commands without other arguments.
func (c *call) parseOnly(synopsis string) error {
	rest, err := c.parse(synopsis)
	if err == nil && len(rest) > 0 {
		err = usage("unexpected argument %q", rest[0])
	}
	return err
}

// verb is a part of a command, with flags of its own.
type verb struct {
	name, args string
	run        func(ctx context.Context, c *call) error
}

// dispatch runs the verb that the command's next argument names.
func (c *call) dispatch(ctx context.Context, verbs ...verb) error {
	name := ""
	if len(c.args) > 0 {
		name, c.args = c.args[0], c.args[1:]
	}
	var names []string
	for _, v := range verbs {
		if v.name == name {
			return v.run(ctx, c)
		}
		names = append(names, v.name)
	}
	switch name {
	case "-h", "--help", "-help", "help":
		for i, v := range verbs {
			fmt.Fprintf(c.stdout, "%-6s krserve %s %s %s\n", []string{"usage:", ""}[min(i, 1)], c.flags.Name(), v.name, v.args)
		}
		fmt.Fprintf(c.stdout, "Flags: krserve %s %s -h\n", c.flags.Name(), names[0])
		return nil
	}
	last := len(names) - 1
	want := names[last]
	if last > 0 {
		want = strings.Join(names[:last], ", ") + " or " + want
	}
	return usage("want %s, not %q", want, name)
}

// given reports whether a flag stood on the command line.
func (c *call) given(name string) bool {
	is := false
	c.flags.Visit(func(f *flag.Flag) { is = is || f.Name == name })
	return is
}

func help(w io.Writer) {
	fmt.Fprint(w, "krserve runs language models in its own process.\n\nusage: krserve COMMAND [flags]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-29s%s\n", strings.TrimSpace(c.name+" "+c.args), c.summary)
	}
	fmt.Fprint(w, "\nkrserve COMMAND -h lists a command's flags. Flags take one or two dashes.\n"+
		"Exit status: 0 ok, 1 failure, 2 usage, 3 a regression found.\n"+
		"Environment: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, XDG_CACHE_HOME, NO_COLOR.\n")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
