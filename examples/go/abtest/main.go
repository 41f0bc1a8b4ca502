// Command abtest compares two samplers on one model: go run ./examples/go/abtest MODEL [UNITS]. Every unit is a visitor
// with a prompt; the log says which sampler each one gets, and the report which sampler repeats itself less.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/abtest"
)

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		fmt.Fprintln(os.Stderr, "usage: abtest MODEL [UNITS]")
		os.Exit(2)
	}
	units := 60
	if len(os.Args) == 3 {
		var err error
		if units, err = strconv.Atoi(os.Args[2]); err != nil || units < 4 {
			fmt.Fprintln(os.Stderr, "UNITS is a number of at least 4")
			os.Exit(2)
		}
	}
	if err := compare(context.Background(), os.Args[1], units); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var temperature = map[string]float32{"greedy": 0, "warm": 1}

func compare(ctx context.Context, model string, units int) error {
	engine, err := krserve.Open(ctx, krserve.Config{Model: model, Fetch: true})
	if err != nil {
		return err
	}
	defer engine.Close()
	log, err := abtest.NewLog(abtest.Experiment{Name: "sampler", Variants: []abtest.Variant{{Name: "greedy"}, {Name: "warm"}}},
		[]abtest.Metric{{Name: "distinct", Kind: abtest.Ratio}, {Name: "tokens"}}, nil)
	if err != nil {
		return err
	}
	errs := make([]error, units)
	free := make(chan struct{}, 8) // requests at a time
	var all sync.WaitGroup
	for i := range units {
		all.Add(1)
		free <- struct{}{}
		go func() {
			defer all.Done()
			errs[i] = visit(ctx, engine, log, i)
			<-free
		}()
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	// 60 visitors are few: the interval is tuned for that, and both metrics are corrected for being two.
	report, err := log.Analyze(abtest.Options{Tuned: float64(units)})
	if err != nil {
		return err
	}
	return report.WriteText(os.Stdout)
}

// visit answers one visitor and notes the share of distinct words and the length.
func visit(ctx context.Context, engine *krserve.Engine, log *abtest.Log, i int) error {
	visitor := fmt.Sprint("visitor-", i)
	variant, _ := log.Expose(visitor, nil)
	result, err := engine.Generate(ctx, krserve.Request{
		Raw:         fmt.Sprintf("Day %d of the journey. The road was long, and", i+1),
		MaxTokens:   24,
		Temperature: temperature[variant],
		Seed:        uint64(i + 1),
	})
	if err != nil {
		return err
	}
	words, distinct := strings.Fields(strings.ToLower(result.Text)), map[string]bool{}
	for _, w := range words {
		distinct[w] = true
	}
	if err := log.Observe(visitor, "distinct", abtest.Value{Value: float64(len(distinct)), Den: float64(len(words))}); err != nil {
		return err
	}
	return log.Observe(visitor, "tokens", abtest.Value{Value: float64(result.Usage.CompletionTokens)})
}
