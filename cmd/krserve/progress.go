package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress draws how far a file has arrived: a bar on a terminal, a line at the start and at the end elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	width    int

	mu      sync.Mutex
	file    string
	started time.Time
	from    int64 // bytes that were there at the start, of a resumed download
	drawn   time.Time
	open    bool // a bar without its newline stands on the terminal
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, width: 80}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal = true
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 20 {
			p.width = width
		}
	}
	return p
}

// update is krserve.Hub.Progress.
func (p *progress) update(file string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if file != p.file {
		p.finish()
		p.file, p.started, p.from, p.drawn = file, now, done, time.Time{}
		if !p.terminal {
			fmt.Fprintf(p.w, "fetching %s%s\n", filepath.Base(file), sizeOf(total))
		}
	}
	complete := total > 0 && done >= total
	if !p.terminal || now.Sub(p.drawn) < 100*time.Millisecond && !complete {
		return
	}
	p.drawn, p.open = now, true
	fmt.Fprint(p.w, "\r", bar(filepath.Base(file), done, total, float64(done-p.from)/max(now.Sub(p.started).Seconds(), 1e-3), p.width-1))
	if complete {
		p.finish()
	}
}

// done ends the drawing.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish()
}

func (p *progress) finish() {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}

// bar is one line of exactly width characters.
func bar(file string, done, total int64, rate float64, width int) string {
	tail := fmt.Sprintf(" %s %s/s", megabytes(done), megabytes(int64(rate)))
	if total > 0 {
		tail = fmt.Sprintf(" %3d%% %s/%s %s/s", 100*done/total, megabytes(done), megabytes(total), megabytes(int64(rate)))
		if rate > 0 && done < total {
			left := time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second)
			tail += " " + left.String()
		}
	}
	room := width - len(tail) - 3
	name := file
	if len(name) > room/2 {
		name = name[:max(0, room/2)]
	}
	cells := max(0, room-len(name))
	full := 0
	if total > 0 {
		full = int(int64(cells) * min(done, total) / total)
	}
	line := name + " [" + strings.Repeat("#", full) + strings.Repeat(" ", cells-full) + "]" + tail
	if len(line) > width {
		line = line[:max(0, width)]
	}
	return line + strings.Repeat(" ", max(0, width-len(line)))
}

func sizeOf(total int64) string {
	if total <= 0 {
		return ""
	}
	return " (" + megabytes(total) + ")"
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
