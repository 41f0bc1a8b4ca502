package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/krserve/krserve/regress"
	"github.com/krserve/krserve/regress/report"
)

func runRegress(ctx context.Context, c *call) error {
	return c.dispatch(ctx, verb{"run", "[flags] -old COMMAND -new COMMAND", regressRun},
		verb{"compare", "[flags] OLD NEW", regressCompare}, verb{"history", "[flags] FILE", regressHistory})
}

// outputs are the flags that say where findings go.
type outputs struct {
	json *bool
	html *string
}

func (c *call) outputs() outputs {
	return outputs{c.flags.Bool("json", false, "print JSON in place of a table"),
		c.flags.String("html", "", "also write a report with plots to `FILE`")}
}

// write prints v as JSON or else text, and the page to the file that was asked for.
func (o outputs) write(w io.Writer, v any, text string, page func() (report.Page, error)) error {
	if *o.html != "" {
		p, err := page()
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := p.Write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(*o.html, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if *o.json {
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		return enc.Encode(v)
	}
	_, err := io.WriteString(w, text)
	return err
}

func (c *call) compareOptions() *regress.Options {
	o := &regress.Options{}
	c.flags.Float64Var(&o.Alpha, "alpha", 0.05, "chance that any series differs by chance alone")
	c.flags.Float64Var(&o.MinEffect, "min-effect", 0.01, "smallest change worth a verdict, as a share")
	c.flags.BoolVar(&o.FDR, "fdr", false, "bound the share of false verdicts (Benjamini–Hochberg) in place of their chance (Holm)")
	return o
}

func regressed(r regress.Report) error {
	list := r.Regressions()
	if len(list) == 0 {
		return nil
	}
	names := make([]string, len(list))
	for i, x := range list {
		names[i] = x.Name + " " + x.Unit
	}
	return finding(fmt.Sprintf("%d of %d series regressed: %s", len(list), len(r.Results), strings.Join(names, ", ")))
}

func regressCompare(_ context.Context, c *call) error {
	o, out := c.compareOptions(), c.outputs()
	files, err := c.parse("regress compare [flags] OLD NEW")
	if err != nil {
		return err
	}
	if len(files) != 2 {
		return usage("compare needs OLD and NEW")
	}
	if err := o.Validate(); err != nil {
		return usage("%v", err)
	}
	before, err := regress.ReadFile(files[0])
	if err != nil {
		return err
	}
	after, err := regress.ReadFile(files[1])
	if err != nil {
		return err
	}
	rep, err := regress.Compare(before, after, *o)
	if err != nil {
		return err
	}
	if len(rep.Results) == 0 {
		return fmt.Errorf("%s and %s have no series in common", files[0], files[1])
	}
	err = out.write(c.stdout, rep, report.Text(rep), func() (report.Page, error) {
		return report.Compare(files[0]+" → "+files[1], rep)
	})
	if err != nil {
		return err
	}
	return regressed(rep)
}

func regressHistory(_ context.Context, c *call) error {
	var o regress.HistoryOptions
	c.flags.Float64Var(&o.Alpha, "alpha", 0.05, "chance of any false alarm in any series within -commits")
	c.flags.IntVar(&o.Commits, "commits", 100, "span of commits that -alpha is promised for")
	c.flags.IntVar(&o.Series, "series", 0, "how many series -alpha is promised for; 0 is all in FILE")
	c.flags.Float64Var(&o.MinEffect, "min-effect", 0.01, "smallest change worth an alarm, as a share")
	since := c.flags.String("since", "", "regressions whose alarm came before this `COMMIT` are known: they are listed, but do not fail")
	out := c.outputs()
	files, err := c.parse("regress history [flags] FILE")
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return usage("history needs one FILE")
	}
	if err := o.Validate(); err != nil {
		return usage("%v", err)
	}
	series, err := regress.ReadHistory(files[0])
	if err != nil {
		return err
	}
	found, err := regress.History(series, o)
	if err != nil {
		return err
	}
	err = out.write(c.stdout, found, report.HistoryText(found), func() (report.Page, error) { return report.History(files[0], found) })
	if err != nil {
		return err
	}
	var standing []string
	known := false
	for _, f := range found {
		from := 0
		if *since != "" {
			if from = slices.Index(f.Commits, *since); from < 0 {
				from = len(f.Commits)
			}
			known = known || from < len(f.Commits)
		}
		if f.Regressed >= 0 && f.Changes[f.Regressed].Alarm >= from {
			first, last := f.Range(f.Changes[f.Regressed])
			standing = append(standing, fmt.Sprintf("%s (%s … %s)", strings.TrimSpace(f.Name+" "+f.Unit), first, last))
		}
	}
	if *since != "" && !known {
		return fmt.Errorf("%s: no commit %q of -since", files[0], *since)
	}
	if len(standing) > 0 {
		return finding(fmt.Sprintf("%d of %d series regressed: %s", len(standing), len(found), strings.Join(standing, ", ")))
	}
	return nil
}

func regressRun(ctx context.Context, c *call) error {
	o, out := c.compareOptions(), c.outputs()
	before := c.flags.String("old", "", "shell `COMMAND` that prints the old side's benchmark results")
	after := c.flags.String("new", "", "shell `COMMAND` that prints the new side's")
	save := c.flags.String("save", "", "write PREFIX.old.txt and PREFIX.new.txt for benchstat, under this `PREFIX`")
	plan := regress.Plan{}
	c.flags.IntVar(&plan.Blocks, "blocks", 12, "how often each side is measured")
	c.flags.IntVar(&plan.Warmup, "warmup", 1, "unmeasured runs of each side before; negative none")
	c.flags.DurationVar(&plan.Budget, "budget", 10*time.Minute, "time that the whole run may take")
	c.flags.BoolVar(&plan.NoControl, "no-control", false, "do not measure the old side against itself")
	c.flags.BoolVar(&plan.NoConfirm, "no-confirm", false, "do not repeat the run when it finds a regression")
	c.flags.Uint64Var(&plan.Seed, "seed", 1, "of the order of measurements")
	rest, err := c.parse("regress run [flags] -old COMMAND -new COMMAND")
	if err != nil {
		return err
	}
	if len(rest) > 0 || *before == "" || *after == "" {
		return usage("run needs -old and -new, each one command, and nothing else")
	}
	plan.Old, plan.New, plan.Options = shell(*before, c.stderr), shell(*after, c.stderr), *o
	if err := plan.Validate(); err != nil {
		return usage("%v", err)
	}
	plan.Progress = blockProgress(c.stderr)
	job, err := regress.Run(ctx, plan)
	if err != nil {
		return err
	}
	if *save != "" {
		for suffix, list := range map[string][]regress.Sample{".old.txt": job.Old, ".new.txt": job.New} {
			var b bytes.Buffer
			if err := regress.WriteGo(&b, list); err != nil {
				return err
			}
			if err := os.WriteFile(*save+suffix, b.Bytes(), 0o644); err != nil {
				return err
			}
		}
	}
	text := report.Text(job.Report) + fmt.Sprintf("%d blocks in %s\n", job.Blocks, job.Elapsed.Round(time.Second))
	if job.Cut {
		text += "the budget ended the run early\n"
	}
	for _, name := range job.Incomplete {
		text += "not in every measurement, so not judged: " + name + "\n"
	}
	err = out.write(c.stdout, job, text, func() (report.Page, error) { return report.Compare(*before+" → "+*after, job.Report) })
	if err != nil {
		return err
	}
	return regressed(job.Report)
}

// blockProgress counts blocks on a terminal, and is nil elsewhere.
func blockProgress(w io.Writer) func(block, of int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	last := 0
	return func(block, of int) {
		if block != last {
			fmt.Fprintf(w, "\rblock %d of %d ", block, of)
		}
		last = block
	}
}

// shell measures by a command line whose output is benchmark results.
func shell(line string, stderr io.Writer) regress.Measure {
	return func(ctx context.Context) ([]regress.Sample, error) {
		name, args := "sh", []string{"-c", line}
		if runtime.GOOS == "windows" {
			name, args = "cmd", []string{"/C", line}
		}
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Stderr = stderr
		data, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		return regress.Parse(data, line)
	}
}
