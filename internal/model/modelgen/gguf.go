package modelgen

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/krserve/krserve/internal/gguf"
	"github.com/krserve/krserve/internal/quant"
)

// WriteGGUF writes the model as a GGUF file, with the vocabulary of s.Tokenizer if it is set. MLX affine types are refused.
func (s Spec) WriteGGUF(path string) error {
	s, err := s.withDefaults()
	if err != nil {
		return err
	}
	w := &gguf.Writer{}
	if err := s.metadata(w); err != nil {
		return err
	}
	for _, t := range s.tensors() {
		if t.rows == 0 {
			w.Add(t.gguf, quant.F32, []int{t.cols}, floats(s.vector(t, false)))
			continue
		}
		if _, err := w.AddFunc(t.gguf, s.typeOf(t), []int{t.cols, t.rows}, s.codes(t)); err != nil {
			return fmt.Errorf("modelgen: %w", err)
		}
	}
	if s.Scaling == "llama3" {
		w.Add("rope_freqs.weight", quant.F32, []int{s.HeadDim / 2}, floats(s.divisors()))
	}
	return writeFile(path, w)
}

func (s Spec) metadata(w *gguf.Writer) error {
	w.Set("general.architecture", s.Arch)
	w.Set("general.name", s.Arch+" of random weights")
	set := func(key string, v any) { w.Set(s.Arch+"."+key, v) }
	for _, n := range []struct {
		key string
		v   int
	}{
		{"vocab_size", s.Vocab}, {"context_length", s.Context}, {"embedding_length", s.Width}, {"block_count", s.Layers},
		{"feed_forward_length", s.FFN}, {"attention.head_count", s.Heads}, {"attention.head_count_kv", s.KVHeads},
		{"attention.key_length", s.HeadDim}, {"attention.value_length", s.HeadDim}, {"rope.dimension_count", s.HeadDim},
	} {
		set(n.key, uint32(n.v))
	}
	set("attention.layer_norm_rms_epsilon", float32(1e-6))
	set("rope.freq_base", float32(s.RopeBase))
	if s.Window > 0 {
		set("attention.sliding_window", uint32(s.Window))
		set("attention.sliding_window_pattern", uint32(s.Pattern))
	}
	switch s.Scaling {
	case "yarn":
		set("rope.scaling.original_context_length", uint32(s.Original))
		fallthrough
	case "linear":
		set("rope.scaling.type", s.Scaling)
		set("rope.scaling.factor", float32(s.Factor))
	}
	if s.Tokenizer != "" {
		return s.vocabulary(w)
	}
	w.Set("tokenizer.ggml.model", "no_vocab")
	return nil
}

// divisors are llama3's scaling as llama.cpp's converter writes it (convert_hf_to_gguf.py).
func (s Spec) divisors() []float32 {
	const low, high = 1.0, 4.0
	out := make([]float32, s.HeadDim/2)
	for i := range out {
		wavelength := 2 * math.Pi * math.Pow(s.RopeBase, 2*float64(i)/float64(s.HeadDim))
		rotations := float64(s.Original) / wavelength
		switch {
		case rotations > high:
			out[i] = 1
		case rotations < low:
			out[i] = float32(s.Factor)
		default:
			smooth := (rotations - low) / (high - low)
			out[i] = float32(1 / ((1-smooth)/s.Factor + smooth))
		}
	}
	return out
}

func floats(x []float32) []byte {
	b := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return b
}

func writeFile(path string, w io.WriterTo) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("modelgen: %w", err)
	}
	_, err = w.WriteTo(f)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("modelgen: %s: %w", path, err)
	}
	return nil
}
