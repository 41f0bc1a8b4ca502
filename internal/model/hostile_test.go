package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/gguf"
	"github.com/krserve/krserve/internal/quant"
	"github.com/krserve/krserve/internal/safetensors"
	"github.com/krserve/krserve/internal/testenv"
)

// editConfig copies a committed model with some keys of its config replaced; a nil value removes the key.
func editConfig(t *testing.T, name string, edit map[string]any) string {
	t.Helper()
	src, dir := testenv.Golden("mlx", name), t.TempDir()
	data, err := os.ReadFile(filepath.Join(src, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	for k, v := range edit {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	if data, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	weights, err := os.ReadFile(filepath.Join(src, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"config.json": data, "model.safetensors": weights} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

type m = map[string]any

// TestHostileConfig: every wrong field of config.json is an error that names it, or the tensor it contradicts.
func TestHostileConfig(t *testing.T) {
	const qwen2, llama, gemma = "qwen2-4bit-g64", "llama-4bit-g64", "gemma3-4bit-g64"
	for _, c := range []struct {
		model string
		edit  m
		is    error
		says  string
	}{
		{qwen2, m{"model_type": nil}, ErrFormat, "model_type"},
		{qwen2, m{"model_type": 7}, ErrFormat, "model_type"},
		{qwen2, m{"model_type": "mamba"}, ErrUnsupported, `"mamba"`},
		{qwen2, m{"hidden_size": nil}, ErrFormat, "hidden_size"},
		{qwen2, m{"hidden_size": "256"}, ErrFormat, "hidden_size"},
		{qwen2, m{"hidden_size": -256}, ErrFormat, "hidden_size"},
		{qwen2, m{"hidden_size": 1e18}, ErrFormat, "hidden_size"},
		{qwen2, m{"hidden_size": 256.5}, ErrFormat, "hidden_size"},
		{qwen2, m{"hidden_size": []int{256}}, ErrFormat, "hidden_size"},
		{qwen2, m{"hidden_size": 512}, ErrFormat, "input_layernorm.weight"}, // the codes alone could be 2-bit
		{qwen2, m{"hidden_size": 250}, ErrFormat, "model.embed_tokens.weight"},
		{qwen2, m{"num_hidden_layers": 0}, ErrFormat, "num_hidden_layers"},
		{qwen2, m{"num_hidden_layers": 1 << 30}, ErrFormat, "num_hidden_layers"},
		{qwen2, m{"num_hidden_layers": 3}, ErrFormat, "model.layers.2.input_layernorm.weight"},
		{qwen2, m{"num_hidden_layers": 1}, ErrUnsupported, "model.layers.1."},
		{qwen2, m{"intermediate_size": 448}, ErrFormat, "mlp.gate_proj.weight"},
		{qwen2, m{"num_attention_heads": 0}, ErrFormat, "num_attention_heads"},
		{qwen2, m{"num_attention_heads": 3}, ErrFormat, "num_key_value_heads"},
		{qwen2, m{"num_attention_heads": 8}, ErrFormat, "self_attn.k_proj"},
		{qwen2, m{"num_key_value_heads": 4}, ErrFormat, "self_attn.k_proj.weight"},
		{qwen2, m{"num_key_value_heads": 1 << 20}, ErrFormat, "num_key_value_heads"},
		{qwen2, m{"vocab_size": 1000}, ErrFormat, "model.embed_tokens.weight"},
		{qwen2, m{"vocab_size": nil}, ErrFormat, "vocab_size"},
		{qwen2, m{"vocab_size": 1e12}, ErrFormat, "vocab_size"},
		{qwen2, m{"head_dim": 63}, ErrFormat, "head_dim"},
		{qwen2, m{"head_dim": 1 << 19}, ErrFormat, "num_attention_heads"},
		{qwen2, m{"rms_norm_eps": nil}, ErrFormat, "rms_norm_eps"},
		{qwen2, m{"rms_norm_eps": 0}, ErrFormat, "rms_norm_eps"},
		{qwen2, m{"rope_theta": nil}, ErrFormat, "rope_theta"},
		{qwen2, m{"rope_theta": 0}, ErrFormat, "rope base"},
		{qwen2, m{"rope_theta": true}, ErrFormat, "rope_theta"},
		{qwen2, m{"rope_scaling": "yarn"}, ErrFormat, "rope_scaling"},
		{qwen2, m{"rope_scaling": m{"type": "su"}}, ErrUnsupported, `type: unsupported model: "su"`},
		{qwen2, m{"rope_scaling": m{"rope_type": "dynamic", "factor": 2}}, ErrUnsupported, `"dynamic"`},
		{qwen2, m{"rope_scaling": m{"type": "linear"}}, ErrFormat, "factor"},
		{qwen2, m{"rope_scaling": m{"type": "linear", "factor": 0}}, ErrFormat, "factor"},
		{qwen2, m{"rope_scaling": m{"type": "yarn", "factor": 4, "beta_slow": -1}}, ErrFormat, "beta_slow"},
		{qwen2, m{"partial_rotary_factor": 2}, ErrFormat, "partial_rotary_factor"},
		{qwen2, m{"use_sliding_window": true}, ErrFormat, "use_sliding_window"},
		{qwen2, m{"max_position_embeddings": 0}, ErrFormat, "max_position_embeddings"},
		{qwen2, m{"tie_word_embeddings": "no"}, ErrFormat, "tie_word_embeddings"},
		{qwen2, m{"quantization": nil, "quantization_config": nil}, ErrFormat, "no quantization"},
		{qwen2, m{"quantization": 4}, ErrFormat, "quantization"},
		{qwen2, m{"quantization": m{"group_size": 64}}, ErrFormat, "bits"},
		{qwen2, m{"quantization": m{"group_size": 48, "bits": 4}}, ErrUnsupported, "group_size 48"},
		{qwen2, m{"quantization": m{"group_size": 64, "bits": 7}}, ErrUnsupported, "bits 7"},
		{qwen2, m{"quantization": m{"group_size": 32, "bits": 4, "mode": "mxfp4"}}, ErrUnsupported, `"mxfp4"`},
		{qwen2, m{"quantization": m{"group_size": 64, "bits": 4, "lm_head": m{"group_size": 64, "bits": 8}}}, ErrFormat, "lm_head.weight"},
		{qwen2, m{"quantization": m{"group_size": 64, "bits": 4, "lm_head": false}}, ErrFormat, "lm_head.weight"},
		{qwen2, m{"quantization": nil, "quantization_config": m{"quant_method": "awq", "bits": 4}}, ErrUnsupported, `"awq"`},
		{qwen2, m{"eos_token_id": "x"}, ErrFormat, "eos_token_id"},
		{"qwen2-tied-4bit-g32", m{"tie_word_embeddings": false}, ErrFormat, "lm_head.weight"},
		{llama, m{"rope_scaling": m{"rope_type": "llama3", "factor": 8, "high_freq_factor": 1}}, ErrFormat, "high_freq_factor"},
		{llama, m{"layer_types": []string{"full_attention"}}, ErrFormat, "layer_types"},
		{llama, m{"layer_types": []string{"full_attention", "linear_attention"}}, ErrUnsupported, "linear_attention"},
		{llama, m{"layer_types": []string{"full_attention", "sliding_attention"}}, ErrFormat, "sliding_window"},
		{llama, m{"model_type": "qwen2"}, ErrFormat, "self_attn.q_proj"},
		{llama, m{"model_type": "qwen3"}, ErrFormat, "self_attn.q_norm"},
		{gemma, m{"sliding_window": 0}, ErrFormat, "sliding_window"},
		{gemma, m{"sliding_window": nil}, ErrFormat, "sliding_window"},
		{gemma, m{"sliding_window_pattern": -1}, ErrFormat, "sliding_window_pattern"},
		{gemma, m{"query_pre_attn_scalar": 0}, ErrFormat, "query_pre_attn_scalar"},
		{gemma, m{"text_config": 3}, ErrFormat, "text_config"},
		{gemma, m{"rope_parameters": m{"full_attention": m{}}}, ErrFormat, "sliding_attention"},
		{gemma, m{"model_type": "llama"}, ErrUnsupported, "tensor"},
	} {
		text, _ := json.Marshal(c.edit)
		mod, err := Open(editConfig(t, c.model, c.edit))
		if err == nil {
			mod.Close()
			t.Errorf("%s with %s: no error", c.model, text)
			continue
		}
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s with %s: %v; want %v that says %q", c.model, text, err, c.is, c.says)
		}
	}
}

// TestConfigSpellings: other spellings of one model give the same graph.
func TestConfigSpellings(t *testing.T) {
	for _, c := range []struct {
		model string
		edit  m
	}{
		{"llama-4bit-g64", m{"rope_theta": nil, "rope_scaling": nil, "rope_parameters": m{"rope_type": "llama3", "rope_theta": 500000, "factor": 8, "low_freq_factor": 1,
			"high_freq_factor": 4, "original_max_position_embeddings": 256}}},
		{"llama-4bit-g64", m{"layer_types": []string{"full_attention", "full_attention"}, "sliding_window": 8, "quantization_config": nil}},
		{"llama-4bit-g64", m{"quantization": nil}},
		{"llama-4bit-g64", m{"tie_word_embeddings": nil, "head_dim": 64.0, "torch_dtype": "bfloat16"}},
		{"gemma3-4bit-g64", m{"sliding_window_pattern": nil, "layer_types": []string{"sliding_attention", "full_attention", "sliding_attention", "full_attention"}}},
		{"gemma3-4bit-g64", m{"rope_theta": nil, "rope_local_base_freq": nil, "rope_parameters": m{
			"full_attention": m{"rope_type": "default", "rope_theta": 1e6}, "sliding_attention": m{"rope_type": "default", "rope_theta": 1e4}}}},
		{"qwen2-4bit-g64", m{"sliding_window": 32768, "use_sliding_window": false, "partial_rotary_factor": 1}},
	} {
		want, err := Open(testenv.Golden("mlx", c.model))
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		text, _ := json.Marshal(c.edit)
		got, err := Open(editConfig(t, c.model, c.edit))
		if err != nil {
			t.Errorf("%s with %s: %v", c.model, text, err)
			continue
		}
		defer got.Close()
		if got.Digest() != want.Digest() {
			t.Errorf("%s with %s: another model\n%v\n%v", c.model, text, got.Graph, want.Graph)
		}
	}
}

// tinyGGUF is the smallest llama: one layer of width 32.
func tinyGGUF(keys m, tensors map[string][]int) []byte {
	all := m{
		"general.architecture": "llama", "llama.context_length": uint32(64), "llama.embedding_length": uint32(32), "llama.block_count": uint32(1),
		"llama.feed_forward_length": uint32(64), "llama.attention.head_count": uint32(2), "llama.attention.head_count_kv": uint32(1),
		"llama.attention.layer_norm_rms_epsilon": float32(1e-5), "llama.rope.freq_base": float32(10000),
	}
	shapes := map[string][]int{
		"token_embd.weight": {32, 10}, "output_norm.weight": {32}, "blk.0.attn_norm.weight": {32}, "blk.0.attn_q.weight": {32, 32}, "blk.0.attn_k.weight": {32, 16},
		"blk.0.attn_v.weight": {32, 16}, "blk.0.attn_output.weight": {32, 32}, "blk.0.ffn_norm.weight": {32}, "blk.0.ffn_gate.weight": {32, 64},
		"blk.0.ffn_up.weight": {32, 64}, "blk.0.ffn_down.weight": {64, 32},
	}
	for k, v := range keys {
		if all[k] = v; v == nil {
			delete(all, k)
		}
	}
	for k, v := range tensors {
		if shapes[k] = v; v == nil {
			delete(shapes, k)
		}
	}
	w := &gguf.Writer{}
	for k, v := range all {
		w.Set(k, v)
	}
	for name, shape := range shapes {
		n := 4
		for _, d := range shape {
			n *= d
		}
		w.Add(name, quant.F32, shape, make([]byte, n))
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		return nil
	}
	return b.Bytes()
}

// openBytes builds the model of a GGUF file in memory.
func openBytes(data []byte) (*Model, error) {
	f, err := gguf.Parse(data)
	if err != nil {
		return nil, err
	}
	return fromGGUF(f)
}

func TestHostileGGUF(t *testing.T) {
	if _, err := openBytes(tinyGGUF(nil, nil)); err != nil {
		t.Fatal(err)
	}
	type s = map[string][]int
	for _, c := range []struct {
		keys    m
		tensors s
		is      error
		says    string
	}{
		{m{"general.architecture": nil}, nil, ErrFormat, "general.architecture"},
		{m{"general.architecture": uint32(1)}, nil, ErrFormat, "general.architecture"},
		{m{"general.architecture": "rwkv"}, nil, ErrUnsupported, `"rwkv"`},
		{m{"general.architecture": "qwen3"}, nil, ErrFormat, "qwen3.embedding_length"},
		{m{"general.name": uint32(1)}, nil, ErrFormat, "general.name"},
		{m{"llama.embedding_length": nil}, nil, ErrFormat, "llama.embedding_length"},
		{m{"llama.embedding_length": "32"}, nil, ErrFormat, "llama.embedding_length"},
		{m{"llama.embedding_length": uint64(1 << 60)}, nil, ErrFormat, "llama.embedding_length"},
		{m{"llama.embedding_length": int32(-1)}, nil, ErrFormat, "llama.embedding_length"},
		{m{"llama.embedding_length": uint32(64)}, nil, ErrFormat, "token_embd.weight"},
		{m{"llama.block_count": uint32(0)}, nil, ErrFormat, "llama.block_count"},
		{m{"llama.block_count": uint32(2)}, nil, ErrFormat, "blk.1.attn_norm.weight"},
		{m{"llama.attention.head_count": uint32(3)}, nil, ErrFormat, "attn_q.weight"},
		{m{"llama.attention.head_count": uint32(0)}, nil, ErrFormat, "llama.attention.head_count"},
		{m{"llama.attention.head_count_kv": []int32{1, 2}}, nil, ErrUnsupported, "layers differ"},
		{m{"llama.attention.head_count_kv": []int32{}}, nil, ErrFormat, "llama.attention.head_count_kv"},
		{m{"llama.attention.key_length": uint32(7)}, nil, ErrFormat, "llama.attention.key_length"},
		{m{"llama.attention.value_length": uint32(8)}, nil, ErrFormat, "llama.attention.value_length"},
		{m{"llama.attention.layer_norm_rms_epsilon": float32(math.NaN())}, nil, ErrFormat, "layer_norm_rms_epsilon"},
		{m{"llama.rope.freq_base": float32(math.Inf(1))}, nil, ErrFormat, "llama.rope.freq_base"},
		{m{"llama.rope.freq_base": float32(-5)}, nil, ErrFormat, "rope base"},
		{m{"llama.rope.dimension_count": uint32(18)}, nil, ErrFormat, "llama.rope.dimension_count"},
		{m{"llama.rope.scaling.type": "longrope"}, nil, ErrUnsupported, `"longrope"`},
		{m{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(-2)}, nil, ErrFormat, "factor"},
		{m{"llama.vocab_size": uint32(11)}, nil, ErrFormat, "token_embd.weight"},
		{nil, s{"token_embd.weight": nil}, ErrFormat, "token_embd.weight"},
		{nil, s{"token_embd.weight": {32}}, ErrFormat, "token_embd.weight"},
		{nil, s{"token_embd.weight": {16, 2, 10}}, ErrFormat, "token_embd.weight"},
		{nil, s{"output.weight": {32, 11}}, ErrFormat, "output.weight"},
		{nil, s{"output_norm.weight": {16}}, ErrFormat, "output_norm.weight"},
		{nil, s{"blk.0.attn_q.weight": {16, 64}}, ErrFormat, "blk.0.attn_q.weight"},
		{nil, s{"blk.0.attn_q.bias": {31}}, ErrFormat, "blk.0.attn_q.bias"},
		{nil, s{"blk.0.ffn_down.weight": nil}, ErrFormat, "blk.0.ffn_down.weight"},
		{nil, s{"blk.0.ffn_gate_inp.weight": {32, 4}}, ErrUnsupported, "blk.0.ffn_gate_inp.weight"},
		{nil, s{"rope_freqs.weight": {8}}, ErrFormat, "rope_freqs.weight"}, // zeros
		{nil, s{"rope_freqs.weight": {4}}, ErrFormat, "rope_freqs.weight"},
	} {
		_, err := openBytes(tinyGGUF(c.keys, c.tensors))
		if err == nil {
			t.Errorf("%v %v: no error", c.keys, c.tensors)
		} else if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v %v: %v; want %v that says %q", c.keys, c.tensors, err, c.is, c.says)
		}
	}
}

// FuzzConfig reads any config.json over the tensors of a committed model.
func FuzzConfig(f *testing.F) {
	for _, name := range []string{"qwen2-4bit-g64", "llama-4bit-g64", "gemma3-4bit-g64"} {
		data, err := os.ReadFile(testenv.Golden("mlx", name, "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"model_type":"gemma3","text_config":{"rope_parameters":{"full_attention":{},"sliding_attention":null}}}`))
	tensors, err := safetensors.Open(testenv.Golden("mlx", "qwen2-4bit-g64", "model.safetensors"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { tensors.Close() })
	f.Fuzz(func(t *testing.T, data []byte) {
		top, err := parseObject(data)
		if err != nil {
			return
		}
		p, err := newHFParams(top)
		if err != nil {
			return
		}
		q, err := readQuantization(top)
		if err != nil {
			return
		}
		for _, a := range archs {
			c, err := readConfig(p, a)
			if err != nil {
				p.first = nil
				continue
			}
			if m, err := fromTensors(tensors, a, c, q); err == nil && m.Graph.Check() != nil {
				t.Errorf("a graph that does not check: %v", m.Graph.Check())
			}
		}
	})
}

// FuzzGGUF builds the model of any bytes.
func FuzzGGUF(f *testing.F) {
	f.Add(tinyGGUF(nil, nil))
	f.Add(tinyGGUF(m{"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": float32(4)}, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := openBytes(data); err == nil && m.Graph.Check() != nil {
			t.Errorf("a graph that does not check: %v", m.Graph.Check())
		}
	})
}
