package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/krserve/krserve/internal/testenv"
)

// terminal runs a command on a terminal of its own and collects what it shows.
type terminal struct {
	*os.File
	cmd  *exec.Cmd
	mu   sync.Mutex
	text strings.Builder
}

func onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &terminal{File: master, cmd: exec.Command(krserveBin, args...)}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.cmd.Env = append(os.Environ(), "TERM=xterm", "HF_HUB_OFFLINE=1")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			p.mu.Lock()
			p.text.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		master.Close()
	})
	return p
}

func (p *terminal) shown() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// await waits until what is shown after the first skip bytes satisfies the condition, and returns it.
func (p *terminal) await(t *testing.T, skip int, what string, ok func(string) bool) string {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s := p.shown(); len(s) > skip && ok(s[skip:]) {
			return s[skip:]
		}
	}
	t.Fatalf("no %s on the terminal:\n%s", what, p.shown())
	return ""
}

func (p *terminal) typed(t *testing.T, text string) (before int) {
	t.Helper()
	before = len(p.shown())
	if _, err := p.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return before
}

func (p *terminal) wait(t *testing.T) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(3 * time.Minute):
		t.Fatalf("the chat does not end:\n%s", p.shown())
		return nil
	}
}

func prompted(s string) bool { return strings.HasSuffix(s, "> ") }

// TestChat holds a conversation: it has a memory, Ctrl-C ends an answer and not the program, Ctrl-D the program.
func TestChat(t *testing.T) {
	p := onTerminal(t, "run", "-model", testenv.SmolLM2(t), "-n", "400", "-context", "1024")
	hello := p.await(t, 0, "prompt", prompted)
	if !strings.Contains(hello, "Ctrl-C") {
		t.Errorf("no help at the start: %q", hello)
	}
	at := p.typed(t, "What is the capital of France? Answer in one word.\n")
	if a := p.await(t, at, "answer", prompted); !strings.Contains(a, "Paris") {
		t.Errorf("answer %q", a)
	}

	at = p.typed(t, "Tell me a very long story about a dragon.\n")
	p.await(t, at, "beginning of a story", func(s string) bool { return len(s) > 120 })
	p.typed(t, "\x03")
	story := p.await(t, at, "prompt after Ctrl-C", prompted)
	if len(story) > 1500 {
		t.Errorf("Ctrl-C came late: %d characters", len(story))
	}

	at = p.typed(t, "\x03") // at the prompt: a hint, not the end
	p.await(t, at, "hint", func(s string) bool { return strings.Contains(s, "Ctrl-D") && prompted(s) })

	at = p.typed(t, "/clear\n")
	p.await(t, at, "prompt", prompted)
	at = p.typed(t, "Hello!\n")
	p.await(t, at, "answer", prompted)

	p.typed(t, "\x04")
	if err := p.wait(t); err != nil {
		t.Errorf("after Ctrl-D: %v", err)
	}
}

// TestInterruptedRun: without a chat Ctrl-C ends the program, with the status of a failure.
func TestInterruptedRun(t *testing.T) {
	p := onTerminal(t, "run", "-raw", "-n", "1500", "-model", testenv.SmolLM2(t), "Once upon a time")
	p.await(t, 0, "text", func(s string) bool { return len(s) > 20 })
	at := p.typed(t, "\x03")
	p.await(t, at, "word of the interruption", func(s string) bool { return strings.Contains(s, "interrupted") })
	if err := p.wait(t); err == nil || p.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v:\n%s", err, p.shown())
	}
}
