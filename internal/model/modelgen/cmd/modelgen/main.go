// Command modelgen writes a model with random weights: a GGUF file when the output ends in .gguf, else a directory.
//
//	go run ./internal/model/modelgen/cmd/modelgen qwen2.5-7b:AFFINE4 DIR
//	go run ./internal/model/modelgen/cmd/modelgen qwen2.5-7b:Q4_K FILE.gguf
//
// With -tokenizer FILE a directory gets a copy of that tokenizer.json, and a GGUF file its vocabulary, which must be a
// byte-level BPE.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/krserve/krserve/internal/model/modelgen"
)

func main() {
	seed := flag.Uint64("seed", 1, "seed of the weights")
	layers := flag.Int("layers", 0, "layers, 0 = the shape's")
	tok := flag.String("tokenizer", "", "tokenizer.json of the model; empty for a model without one")
	flag.Usage = func() {
		var names []string
		for n := range modelgen.Shapes {
			names = append(names, n)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "usage: modelgen [flags] SHAPE:TYPE OUT\nshapes: %s\n", strings.Join(names, " "))
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), *tok, *seed, *layers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(spec, out, tok string, seed uint64, layers int) error {
	s, err := modelgen.Parse(spec)
	if err != nil {
		return err
	}
	s.Seed, s.Tokenizer = seed, tok
	if layers > 0 {
		s.Layers = layers
	}
	if strings.HasSuffix(out, ".gguf") {
		return s.WriteGGUF(out)
	}
	return s.WriteDir(out)
}
