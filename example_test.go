package krserve_test

import (
	"context"
	"fmt"
	"log"
	"path/filepath"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/internal/testenv"
	"github.com/krserve/krserve/kvcache"
)

// model is SmolLM2-135M-Instruct as `make testdata` fetches it. A program says "smollm2", or the path of a file.
var model = filepath.Join(testenv.Root(), ".testdata", "smollm2.gguf")

func ExampleOpen() {
	eng, err := krserve.Open(context.Background(), krserve.Config{Model: model})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	info := eng.Info()
	fmt.Println(info.Arch, info.Layers, "layers,", info.Vocab, "tokens")
	// Output: llama 30 layers, 49152 tokens
}

func ExampleEngine_Start() {
	ctx := context.Background()
	eng, err := krserve.Open(ctx, krserve.Config{Model: model, ContextTokens: 512})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	st, err := eng.Start(ctx, krserve.Request{
		Messages:  []krserve.Message{{Role: "user", Content: "Write a Python function that adds two numbers."}},
		MaxTokens: 200,
		Stop:      []string{"\n```"},
	})
	if err != nil {
		log.Fatal(err)
	}
	for tok, err := range st.All() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(tok.Text)
	}
	fmt.Printf("\n(%s)\n", st.FinishReason())
	// Output:
	// ```python
	// def add_two_numbers(num1, num2):
	//     return num1 + num2
	// (stop)
}

func ExampleEngine_Generate() {
	ctx := context.Background()
	eng, err := krserve.Open(ctx, krserve.Config{Model: model, ContextTokens: 512})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	// The same seed gives the same text, whatever else the engine runs.
	req := krserve.Request{Raw: "Once upon a time", MaxTokens: 12, Temperature: 0.8, TopP: 0.95, Seed: 7}
	a, err := eng.Generate(ctx, req)
	if err != nil {
		log.Fatal(err)
	}
	b, err := eng.Generate(ctx, req)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(a.Text == b.Text, a.FinishReason, a.Usage.CompletionTokens)
	fmt.Println(b.Usage.CachedTokens, "of", b.Usage.PromptTokens, "prompt tokens were there already")
	// Output:
	// true length 12
	// 3 of 4 prompt tokens were there already
}

func ExampleNewKVPool() {
	pool, err := krserve.NewKVPool(kvcache.Options{Bytes: 256 << 20})
	if err != nil {
		log.Fatal(err)
	}
	eng, err := krserve.Open(context.Background(), krserve.Config{Model: model, Pool: pool})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	fmt.Println(eng.Info().Context, "tokens of", eng.Info().Trained)
	// Output: 8192 tokens of 8192
}

func ExampleEngine_Tokenizer() {
	eng, err := krserve.Open(context.Background(), krserve.Config{Model: model})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	ids := eng.Tokenizer().Encode("Hello, world!")
	fmt.Println(ids, eng.Tokenizer().Decode(ids))
	// Output: [19556 28 905 17] Hello, world!
}
