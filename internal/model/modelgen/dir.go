package modelgen

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/krserve/krserve/internal/quant"
	"github.com/krserve/krserve/internal/safetensors"
)

// WriteDir writes the model as a directory of config.json and model.safetensors: in MLX's form for affine types, in
// Hugging Face's for F32, F16 and BF16. A copy of s.Tokenizer joins them.
func (s Spec) WriteDir(dir string) error {
	s, err := s.withDefaults()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("modelgen: %w", err)
	}
	config, err := json.MarshalIndent(s.config(), "", " ")
	if err != nil {
		return fmt.Errorf("modelgen: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666); err != nil {
		return fmt.Errorf("modelgen: %w", err)
	}
	if s.Tokenizer != "" {
		data, err := os.ReadFile(s.Tokenizer)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "tokenizer.json"), data, 0o666)
		}
		if err != nil {
			return fmt.Errorf("modelgen: %w", err)
		}
	}
	w := &safetensors.Writer{}
	w.SetMetadata(map[string]string{"format": "mlx"})
	for _, t := range s.tensors() {
		if err := s.addTo(w, t); err != nil {
			return err
		}
	}
	return writeFile(filepath.Join(dir, "model.safetensors"), w)
}

var dtypes = map[quant.Type]safetensors.DType{quant.F32: safetensors.F32, quant.F16: safetensors.F16, quant.BF16: safetensors.BF16}

func (s Spec) addTo(w *safetensors.Writer, t tensor) error {
	if t.rows == 0 {
		v := s.vector(t, s.Arch == "gemma3" && t.kind == norm)
		b := make([]byte, 2*len(v))
		if err := quant.Quantize(b, v, quant.BF16); err != nil {
			return fmt.Errorf("modelgen: %w", err)
		}
		w.Add(t.hf, safetensors.BF16, []int{t.cols}, b)
		return nil
	}
	ty := s.typeOf(t)
	codes := s.codes(t)
	if !ty.Affine() {
		d, ok := dtypes[ty]
		if !ok {
			return fmt.Errorf("modelgen: %v in a directory", ty)
		}
		w.AddFunc(t.hf, d, []int{t.rows, t.cols}, codes)
		return nil
	}
	module := strings.TrimSuffix(t.hf, ".weight")
	w.AddFunc(t.hf, safetensors.U32, []int{t.rows, t.cols * ty.Bits() / 32}, codes)
	w.AddFunc(module+".scales", safetensors.BF16, []int{t.rows, t.cols / s.Group}, s.scales(t))
	w.AddFunc(module+".biases", safetensors.BF16, []int{t.rows, t.cols / s.Group}, s.biases(t))
	return nil
}

// config is the model's config.json.
func (s Spec) config() map[string]any {
	c := map[string]any{
		"model_type": s.Arch, "vocab_size": s.Vocab, "hidden_size": s.Width, "num_hidden_layers": s.Layers,
		"intermediate_size": s.FFN, "num_attention_heads": s.Heads, "num_key_value_heads": s.KVHeads, "head_dim": s.HeadDim,
		"max_position_embeddings": s.Context, "rms_norm_eps": 1e-6, "rope_theta": s.RopeBase, "tie_word_embeddings": s.Tied,
	}
	if s.Arch == "gemma3" {
		c["model_type"] = "gemma3_text"
		c["sliding_window"], c["sliding_window_pattern"] = s.Window, s.Pattern
		c["query_pre_attn_scalar"] = s.HeadDim
		delete(c, "tie_word_embeddings")
	}
	switch s.Scaling {
	case "linear":
		c["rope_scaling"] = map[string]any{"rope_type": "linear", "factor": s.Factor}
	case "yarn":
		c["rope_scaling"] = map[string]any{"rope_type": "yarn", "type": "yarn", "factor": s.Factor, "original_max_position_embeddings": s.Original}
	case "llama3":
		c["rope_scaling"] = map[string]any{"rope_type": "llama3", "factor": s.Factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": s.Original}
	}
	if s.Type.Affine() {
		q := map[string]any{"group_size": s.Group, "bits": s.Type.Bits()}
		if s.EmbedType.Affine() && s.EmbedType != s.Type {
			for _, m := range []string{"model.embed_tokens", "lm_head"} {
				q[m] = map[string]any{"group_size": s.Group, "bits": s.EmbedType.Bits()}
			}
		}
		c["quantization"] = q
	}
	return c
}
