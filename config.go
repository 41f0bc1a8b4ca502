package krserve

import (
	"log/slog"
)

// Config says what Open opens. The zero value of every field but Model is its default.
type Config struct {
	// Model is a path (a GGUF file, or a directory with config.json, *.safetensors and tokenizer.json) or a name
	// that `krserve pull` knows: "smollm2", "gemma3-270m", "hf:ORG/REPO[/FILE]".
	Model string
	// Backend is "cpu", "reference" or "" for the fastest that this machine has.
	Backend string
	// Kernel forces a kernel variant of the backend by name, such as "AVX2"; empty chooses. "Accelerate" (darwin) takes
	// Apple's BLAS for prompts, whose sums vary with the number of rows: it is close to the others, not equal to them.
	Kernel string
	// ActivationBits is what the CPU backend rounds activations to where weights are quantised: 16 (the default, 0), which
	// differs from float32 by 0.002 in a log-probability, or 8, a third faster in prompts and as far from float32 as
	// other engines are; docs/rationale.md.
	ActivationBits int
	// Threads is the number of compute threads; 0 is one per physical core that the process may use.
	Threads int
	// ContextTokens is the longest prompt plus answer of one request; 0 is the model's own context,
	// limited to what fits in KVBytes.
	ContextTokens int
	// KVBytes bounds the memory of keys and values of all requests and of the prefixes kept for later ones; 0 is
	// enough for one full context, and at least for 8192 tokens. Memory is taken as it is first needed.
	KVBytes int64
	// KVType is how keys and values are stored: "f16", "q8_0" (half the memory) or "q4" (a quarter, behind a Hadamard
	// rotation; docs/kv.md says what it costs). "" is f16, and f32 for the backend "reference".
	KVType string
	// Pool is a budget of keys and values that several engines share, with tiers in main memory, a file or a Store below
	// it if its options say so; nil is one of the engine's own. KVBytes then bounds this engine's part of it, and 0 is
	// all of it. The pool is closed after its engines.
	Pool *KVPool
	// MaxQueue is how many requests may wait for a place among those that run before Start returns ErrBusy; 0 is 1024.
	MaxQueue int
	// MaxRunning is how many requests run at once, a few tokens of each in every step; 0 is 256, and the most.
	MaxRunning int
	// NoSpeculation turns off the verification of guessed tokens. Answers are the same with it and without.
	NoSpeculation bool
	// Tokenizer replaces the model's own.
	Tokenizer *Tokenizer
	// CacheDir is where the model's tokenizer is kept compiled, so that it loads ten times faster (see tokenizer.Config),
	// and its quantised weights packed as the CPU's kernels take them, which is faster where weights are read for few
	// tokens; "" keeps nothing. Packed weights are as large as the model: NoPackedWeights leaves them out. They are made
	// by the first Open, mapped by the next ones, checked byte by byte and made again if the model's files have changed.
	// Answers are the same with them and without. A folder that cannot be written, or has little room, is no error.
	CacheDir string
	// NoPackedWeights keeps no packed weights in CacheDir.
	NoPackedWeights bool
	// Fetch lets Open fetch a named model that the cache lacks. Without it Open touches no network.
	Fetch bool
	// Hub says where named models come from and where they are kept.
	Hub Hub
	// Logger receives notices; nil is silent.
	Logger *slog.Logger

	alwaysDraft bool // tests: guesses are verified whether or not that pays
	rows        int  // tests: instead of stepRows
}

// Hub configures fetching of named models.
type Hub struct {
	Endpoint string // Hugging Face endpoint; "" is the public one
	Token    string // access token; "" is anonymous
	CacheDir string // model cache; "" is ~/.cache/huggingface/hub, as for other clients
	Offline  bool   // never touch the network
	// Progress is called while a file arrives; total is -1 when unknown. It must not block.
	Progress func(file string, done, total int64)
}
