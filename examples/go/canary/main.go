// Command canary lets a new model take over from an old one: go run ./examples/go/canary OLD NEW. Hours pass in
// fractions of a second here; a server leaves Clock out and takes its windows as they are.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/canary"
	"github.com/krserve/krserve/canary/router"
)

type fast struct{ start time.Time }

func (f fast) Now() time.Time                         { return f.start.Add(time.Since(f.start) * 10000) }
func (f fast) After(d time.Duration) <-chan time.Time { return time.After(d / 1000) }

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: canary OLD NEW")
	}
	var engines [2]*krserve.Engine
	for i := range engines {
		var err error
		if engines[i], err = krserve.Open(context.Background(), krserve.Config{Model: os.Args[i+1], Fetch: true, ContextTokens: 64}); err != nil {
			log.Fatal(err)
		}
		defer engines[i].Close()
	}
	r, err := router.New(router.Config[krserve.Request, krserve.Token, *krserve.Stream]{
		Stable: engines[0], Canary: engines[1], Clock: fast{time.Now()},
		Text: func(t krserve.Token) string { return t.Text },
		// A demonstration has few requests: wide margins let them suffice. The defaults are for production.
		Policy:     canary.Policy{MinRequests: 8, LatencyBaseline: 20, ErrorMargin: 0.6, SlowMargin: 0.9, Alpha: 1e-4},
		OnDecision: func(d canary.Decision) { fmt.Printf("canary gets %.0f %%: %s\n", 100*d.Weight, d.Reason) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for visitor := 0; !r.Status().State.Phase.Done(); visitor++ {
		s, err := r.Start(context.Background(), fmt.Sprint("visitor-", visitor), krserve.Request{Raw: "The sea", MaxTokens: 2, IgnoreEOS: true})
		for err == nil {
			_, err = s.Next() // a token, or io.EOF; an engine's error counts against its arm
		}
		if s != nil {
			s.Close()
		}
	}
	fmt.Println(r.Status().State.Phase)
}
