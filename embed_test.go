package krserve

import (
	"context"
	"math"
	"testing"

	"github.com/krserve/krserve/internal/gguf"
	"github.com/krserve/krserve/internal/quant"
	"github.com/krserve/krserve/internal/testenv"
)

// TestEmbedAgainstLogits: SmolLM2's head is its embedding matrix, so that the last position's vector times that matrix,
// read from the file here, is the logits that the golden tests hold to Hugging Face's. The other poolings are tied to the
// last positions of the input's beginnings.
func TestEmbedAgainstLogits(t *testing.T) {
	path := testenv.SmolLM2(t)
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Tensor("output.weight") != nil {
		t.Fatal("the head is a matrix of its own")
	}
	head := f.Tensor("token_embd.weight")
	data, err := head.Data()
	if err != nil {
		t.Fatal(err)
	}
	e := openModel(t, Config{Model: path, Backend: "reference", ContextTokens: 64})
	words := []string{"The", " sea", " is", " blue"}
	embed := func(text, pooling string, raw bool) []float32 {
		t.Helper()
		out, _, err := e.Embed(context.Background(), []string{text}, EmbedOptions{Pooling: pooling, Unnormalised: raw})
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	text, mean := "", make([]float64, e.Info().Width)
	var first, last []float32
	for n, w := range words {
		if text += w; len(e.Tokenizer().Encode(text)) != n+1 {
			t.Fatalf("%q is not a token", w)
		}
		last = embed(text, "last", true)
		if n == 0 {
			first = last
		}
		for i, x := range last {
			mean[i] += float64(x) / float64(len(words))
		}
	}
	s, err := e.Score(context.Background(), e.Tokenizer().Encode(text))
	if err != nil {
		t.Fatal(err)
	}
	row, size := make([]float32, head.Cols()), head.Type.RowBytes(head.Cols())
	for id := 0; id < head.Rows(); id += 97 {
		if err := quant.Dequantize(row, data[id*size:(id+1)*size], head.Type); err != nil {
			t.Fatal(err)
		}
		want := 0.0
		for i, x := range row {
			want += float64(x) * float64(last[i])
		}
		if d := math.Abs(want - float64(s.Logits[id])); d > 1e-3 {
			t.Fatalf("token %d: vector times row %v, logit %v", id, want, s.Logits[id])
		}
	}
	for i, x := range embed(text, "cls", true) {
		if x != first[i] {
			t.Fatalf("cls, element %d: %v, the first token's %v", i, x, first[i])
		}
	}
	length := 0.0
	for _, x := range mean {
		length += x * x
	}
	length = math.Sqrt(length)
	raw, unit := embed(text, "mean", true), embed(text, "", false)
	for i, x := range mean {
		if math.Abs(x-float64(raw[i])) > 1e-5*length || math.Abs(x/length-float64(unit[i])) > 1e-5 {
			t.Fatalf("mean, element %d: %v and normalised %v, want %v and %v", i, raw[i], unit[i], x, x/length)
		}
	}
}
