package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/krserve/krserve"
)

// modelOptions are the flags of every command that opens a model.
type modelOptions struct {
	model, backend, kernel string
	kvType                 string
	threads, context       int
	actBits                int
	packed                 bool
	kvBytes                int64 // for commands that run many requests at once
}

func modelFlags(c *call) *modelOptions {
	m := &modelOptions{}
	c.flags.StringVar(&m.model, "model", "", "a GGUF file, a model directory, or a name: smollm2, gemma3-270m, hf:ORG/REPO[/FILE]")
	c.flags.StringVar(&m.backend, "backend", "", "cpu or reference; empty is the fastest here")
	c.flags.StringVar(&m.kernel, "kernel", "", "force a kernel variant of the backend, such as AVX2")
	c.flags.IntVar(&m.actBits, "activation-bits", 0, "8 or 16 bits of activations; 8 reads prompts faster and answers less exactly; 0 is 16")
	c.flags.IntVar(&m.threads, "threads", 0, "compute threads; 0 is one per physical core")
	c.flags.IntVar(&m.context, "context", 0, "longest prompt plus answer in tokens; 0 is the model's own")
	c.flags.BoolVar(&m.packed, "packed-weights", true, "keep the weights once more in the cache folder, as the kernels take them; answers are the same")
	c.flags.StringVar(&m.kvType, "kv", "", "storage of keys and values: f16, q8_0 or q4; empty is f16, f32 for reference")
	return m
}

// open opens the model, fetching a named one that the cache lacks. What edit sets comes last.
func (m *modelOptions) open(ctx context.Context, c *call, edit ...func(*krserve.Config)) (*krserve.Engine, error) {
	bar := newProgress(c.stderr)
	defer bar.done()
	hub := hubFromEnv()
	hub.Progress = bar.update
	config := krserve.Config{
		Model: m.model, Backend: m.backend, Kernel: m.kernel, Threads: m.threads, ContextTokens: m.context,
		KVBytes: m.kvBytes, KVType: m.kvType, ActivationBits: m.actBits, Fetch: !hub.Offline, Hub: hub, CacheDir: cacheDir(),
		NoPackedWeights: !m.packed,
	}
	for _, f := range edit {
		f(&config)
	}
	return krserve.Open(ctx, config)
}

// cacheDir is the user's cache directory for this program; "", which keeps nothing, where the system has none.
func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "krserve")
}

// hubFromEnv reads the variables of Hugging Face's own client. It and cacheDir are what reads the environment.
func hubFromEnv() krserve.Hub {
	hub := krserve.Hub{
		Endpoint: strings.TrimRight(os.Getenv("HF_ENDPOINT"), "/"),
		Token:    os.Getenv("HF_TOKEN"),
		CacheDir: os.Getenv("HF_HUB_CACHE"),
	}
	switch strings.ToLower(os.Getenv("HF_HUB_OFFLINE")) {
	case "1", "true", "yes", "on":
		hub.Offline = true
	}
	home := os.Getenv("HF_HOME")
	if home == "" {
		if cache := os.Getenv("XDG_CACHE_HOME"); cache != "" {
			home = filepath.Join(cache, "huggingface")
		} else if user, err := os.UserHomeDir(); err == nil { // on every system, as Hugging Face's client has it
			home = filepath.Join(user, ".cache", "huggingface")
		}
	}
	if home != "" {
		if hub.CacheDir == "" {
			hub.CacheDir = filepath.Join(home, "hub")
		}
		if hub.Token == "" { // where `hf auth login` leaves it
			if token, err := os.ReadFile(filepath.Join(home, "token")); err == nil {
				hub.Token = strings.TrimSpace(string(token))
			}
		}
	}
	return hub
}

// printJSON prints one value on one line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func runVersion(_ context.Context, c *call) error {
	if err := c.parseOnly("version"); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.stdout, "krserve", version)
	return err
}

// version is KR_VERSION of include/krserve.h; a test compares them.
const version = "0.1.0"
