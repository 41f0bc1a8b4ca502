package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/tokenizer"
)

// chatWork is what users say: the file that bench/load.py writes.
type chatWork struct {
	System string     `json:"system"`
	Users  [][]string `json:"users"` // the turns of each
}

// systemWords are about 400 tokens.
const systemWords = 250

// newChatWork makes chats of the shape of bench/load.py's.
func newChatWork(users, turns, system int, seed uint64) *chatWork {
	words := strings.Fields("river stone engine market purple window silent bridge copper garden planet mirror forest silver thunder letter candle " +
		"harbor winter orange signal velvet marble shadow engineer coffee library morning")
	rng := rand.New(rand.NewPCG(seed, 0))
	some := func(n int) string {
		s := make([]string, n)
		for i := range s {
			s[i] = words[rng.IntN(len(words))]
		}
		return strings.Join(s, " ")
	}
	w := &chatWork{System: "You are a careful assistant. " + some(system) + "."}
	for u := range users {
		var said []string
		for t := range turns {
			said = append(said, fmt.Sprintf("User %d turn %d: tell me about %s", u, t, some(40)))
		}
		w.Users = append(w.Users, said)
	}
	return w
}

// readChatWork reads such a file.
func readChatWork(path string) (*chatWork, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	w := &chatWork{}
	if err := json.Unmarshal(data, w); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(w.Users) == 0 {
		return nil, fmt.Errorf("%s: no users", path)
	}
	for i, u := range w.Users {
		if len(u) == 0 || len(u) != len(w.Users[0]) {
			return nil, fmt.Errorf("%s: users[%d] has %d turns, users[0] %d", path, i, len(u), len(w.Users[0]))
		}
	}
	return w, nil
}

// multiTurnBench is what `bench multi-turn -json` prints: medians over the repetitions; percentiles over the requests of
// all of them.
type multiTurnBench struct {
	Backend  string       `json:"backend"`
	Device   string       `json:"device"`
	Threads  int          `json:"threads"`
	Model    string       `json:"model"`
	Kernels  []string     `json:"kernels"`
	Users    int          `json:"users"`
	Turns    int          `json:"turns"`
	Gen      int          `json:"gen"`
	Seconds  float64      `json:"seconds"`
	Tokens   int          `json:"tokens"` // of all answers of one repetition
	Rate     float64      `json:"tok_s"`
	First    percentiles  `json:"ttft_first_ms"`
	Later    percentiles  `json:"ttft_later_ms"`
	ITL      percentiles  `json:"itl_ms"`
	HitRate  float64      `json:"hit_rate"`
	Drafted  int64        `json:"draft_tokens"` // of all repetitions
	Accepted int64        `json:"accepted_tokens"`
	PerTurn  []turnBench  `json:"per_turn"`
	Reps     []chatResult `json:"reps"`
	Ablated  []ablation   `json:"ablation,omitempty"`
}

type turnBench struct {
	Turn    int         `json:"turn"`
	TTFT    percentiles `json:"ttft_ms"`
	ITL     percentiles `json:"itl_ms"`
	Prompt  int         `json:"prompt_tokens"` // of all users and repetitions
	HitRate float64     `json:"hit_rate"`
}

// chatResult is one repetition.
type chatResult struct {
	Seconds float64     `json:"seconds"`
	Rate    float64     `json:"tok_s"`
	First   percentiles `json:"ttft_first_ms"`
	Later   percentiles `json:"ttft_later_ms"`
	HitRate float64     `json:"hit_rate"`
	replies []reply
	stats   krserve.Stats
}

func benchMultiTurn(ctx context.Context, c *call) error {
	m := modelFlags(c)
	var (
		file   = c.flags.String("prompts", "", "what the users say, as bench/load.py writes it; empty makes such chats")
		users  = c.flags.Int("users", 10, "users who talk at once")
		turns  = c.flags.Int("turns", 3, "turns of each")
		gen    = c.flags.Int("gen", 64, "tokens of an answer")
		system = c.flags.Int("system", systemWords, "words of the shared system prompt")
		seed   = c.flags.Uint64("seed", 1, "of the words")
		reps   = c.flags.Int("reps", 3, "repetitions, each with a fresh engine")
		kv     = c.flags.Int64("kv-bytes", 2<<30, "bound on keys and values; committed as used")
		ablate = c.flags.Bool("ablate", false, "again with each feature off in turn")
		asJSON = c.flags.Bool("json", false, "print one JSON object")
	)
	if err := c.parseOnly("bench multi-turn -model M [-backend B] [-threads T] [-prompts FILE | -users 10 -turns 3 -system 250 -seed 1] [-gen 64] [-reps 3] [-ablate] [-json]"); err != nil {
		return err
	}
	switch {
	case m.model == "":
		return usage("-model is missing")
	case *users < 1 || *turns < 1 || *gen < 2 || *system < 0 || *reps < 1:
		return usage("-users and -turns must be at least 1, -gen 2, -system 0, -reps 1")
	case *file != "":
		for _, name := range []string{"users", "turns", "system", "seed"} {
			if c.given(name) {
				return usage("-prompts and -%s exclude each other", name)
			}
		}
	}
	m.kvBytes = *kv
	r := &chatRunner{c: c, m: m, gen: *gen}
	if *file == "" {
		r.work = newChatWork(*users, *turns, *system, *seed)
	} else {
		var err error
		if r.work, err = readChatWork(*file); err != nil {
			return err
		}
	}
	out := multiTurnBench{Device: cpuName(), Model: m.model, Users: len(r.work.Users), Turns: len(r.work.Users[0]), Gen: *gen}
	var err error
	if *ablate {
		out.Ablated, err = r.ablate(ctx, *reps)
		if err == nil {
			out.fill(r.whole)
		}
	} else {
		var all []chatResult
		for range *reps {
			res, err := r.run(ctx, without{})
			if err != nil {
				return err
			}
			all = append(all, res)
		}
		out.fill(all)
	}
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(c.stdout, out)
	}
	return out.print(c.stdout)
}

// fill sums repetitions up.
func (b *multiTurnBench) fill(reps []chatResult) {
	b.Reps = reps
	var all, first, later []reply
	perTurn := make([][]reply, b.Turns)
	for _, r := range reps {
		for _, x := range r.replies {
			all = append(all, x)
			perTurn[x.turn] = append(perTurn[x.turn], x)
			if x.turn == 0 {
				first = append(first, x)
			} else {
				later = append(later, x)
			}
		}
		b.Drafted, b.Accepted = b.Drafted+r.stats.DraftTokens, b.Accepted+r.stats.AcceptedTokens
	}
	s := reps[0].stats
	b.Backend, b.Threads, b.Kernels = s.Backend, s.Threads, s.Kernels
	b.Tokens = b.Users * b.Turns * b.Gen
	b.Seconds = medianOf(reps, func(r chatResult) float64 { return r.Seconds })
	b.Rate = medianOf(reps, func(r chatResult) float64 { return r.Rate })
	b.First, b.Later, b.ITL, b.HitRate = ttfts(first), ttfts(later), itls(all), hitRate(all)
	for t, rs := range perTurn {
		n := 0
		for _, r := range rs {
			n += r.usage.PromptTokens
		}
		b.PerTurn = append(b.PerTurn, turnBench{Turn: t + 1, TTFT: ttfts(rs), ITL: itls(rs), Prompt: n, HitRate: hitRate(rs)})
	}
}

func (b *multiTurnBench) print(w io.Writer) error {
	fmt.Fprintf(w, "%s on %s, %d threads, %d users × %d turns × %d tokens: %.1f s, %.1f tok/s, %.0f%% of the prompts found in the pool\n",
		b.Backend, b.Device, b.Threads, b.Users, b.Turns, b.Gen, b.Seconds, b.Rate, 100*b.HitRate)
	fmt.Fprintf(w, "%-8s%28s%26s%10s\n", "turn", "first token p50/p95/p99", "then p50/p95/p99", "hit rate")
	for _, t := range b.PerTurn {
		fmt.Fprintf(w, "%-8d%28v%26v%9.0f%%\n", t.Turn, t.TTFT, t.ITL, 100*t.HitRate)
	}
	fmt.Fprintf(w, "drafts: %d verified, %d accepted\n", b.Drafted, b.Accepted)
	return printAblation(w, b.Ablated)
}

// without says what ablation turns off.
type without struct {
	serialEncode bool // requests are encoded one after another, on one thread
	noPool       bool // nothing is kept from one turn to the next
	noSharing    bool // nothing is shared between users
	noBatching   bool // one request runs at a time
	noDrafts     bool // no guessed tokens
}

// chatRunner lets the users of a chatWork talk.
type chatRunner struct {
	c     *call
	m     *modelOptions
	work  *chatWork
	gen   int
	whole []chatResult // of ablate: everything on
}

// run opens a fresh engine and runs all chats at once, the turns of each in order.
func (r *chatRunner) run(ctx context.Context, off without) (chatResult, error) {
	edit := func(c *krserve.Config) {
		c.NoSpeculation = off.noDrafts
		if off.noBatching {
			c.MaxRunning = 1
		}
	}
	e, err := r.m.open(ctx, r.c, edit)
	if err == nil && off.serialEncode {
		var tok *krserve.Tokenizer
		if tok, err = tokenizer.OpenConfig(e.Info().Path, tokenizer.Config{Threads: 1}); err == nil {
			if err = e.Close(); err == nil {
				e, err = r.m.open(ctx, r.c, edit, func(c *krserve.Config) { c.Tokenizer = tok })
			}
		}
	}
	if err != nil {
		return chatResult{}, err
	}
	defer e.Close()
	// The first steps pay for page faults, and tell the scheduler how fast the machine is.
	if _, err := e.Generate(ctx, krserve.Request{Raw: strings.Repeat("warm up ", 100), MaxTokens: 16, IgnoreEOS: true, Tenant: "warm-up"}); err != nil {
		return chatResult{}, err
	}
	before := e.Stats()
	var (
		wg       sync.WaitGroup
		encoding sync.Mutex
		said     = make([][]reply, len(r.work.Users))
		errs     = make([]error, len(r.work.Users))
	)
	began := time.Now()
	for u := range r.work.Users {
		wg.Go(func() {
			chat := &chatUser{e: e, off: off, id: u, gen: r.gen, encoding: &encoding}
			said[u], errs[u] = chat.talk(ctx, r.work)
		})
	}
	wg.Wait()
	res := chatResult{Seconds: time.Since(began).Seconds(), stats: e.Stats()}
	if err := errors.Join(errs...); err != nil {
		return chatResult{}, err
	}
	var first, later []reply
	for _, rs := range said {
		res.replies, first, later = append(res.replies, rs...), append(first, rs[0]), append(later, rs[1:]...)
	}
	res.stats.DraftTokens -= before.DraftTokens
	res.stats.AcceptedTokens -= before.AcceptedTokens
	res.Rate = float64(len(res.replies)*r.gen) / res.Seconds
	res.First, res.Later, res.HitRate = ttfts(first), ttfts(later), hitRate(res.replies)
	return res, nil
}

// chatUser is one of them.
type chatUser struct {
	e        *krserve.Engine
	off      without
	id       int
	gen      int
	encoding *sync.Mutex
	session  *krserve.Session
	said     []krserve.Message // without a session
}

func (u *chatUser) talk(ctx context.Context, w *chatWork) ([]reply, error) {
	u.said = []krserve.Message{{Role: "system", Content: w.System}}
	if !u.off.noPool {
		var err error
		if u.session, err = u.e.NewSession(u.request(0)); err != nil {
			return nil, err
		}
	}
	var all []reply
	for turn, text := range w.Users[u.id] {
		began := time.Now()
		st, err := u.start(ctx, turn, text)
		if err != nil {
			return nil, err
		}
		x, err := readReply(st, began, u.gen)
		if err != nil {
			return nil, err
		}
		x.turn = turn
		u.said = append(u.said, krserve.Message{Role: "assistant", Content: x.text})
		all = append(all, x)
	}
	return all, nil
}

// request has a tenant of its own where something is not to be shared.
func (u *chatUser) request(turn int) krserve.Request {
	r := krserve.Request{Messages: u.said, MaxTokens: u.gen, IgnoreEOS: true}
	if u.off.noSharing {
		r.Tenant = "user " + strconv.Itoa(u.id)
	}
	if u.off.noPool {
		r.Tenant += " turn " + strconv.Itoa(turn)
	}
	return r
}

func (u *chatUser) start(ctx context.Context, turn int, text string) (*krserve.Stream, error) {
	if u.off.serialEncode {
		u.encoding.Lock()
		defer u.encoding.Unlock()
	}
	if u.session != nil {
		return u.session.Send(ctx, text)
	}
	u.said = append(u.said, krserve.Message{Role: "user", Content: text})
	return u.e.Start(ctx, u.request(turn))
}
