package tokenizer

import (
	"encoding/json"
	"fmt"
)

// preType is what a name of tokenizer.ggml.pre stands for: the pre-tokenizer of the tokenizer.json that the vocabulary comes from.
type preType struct {
	splits       []string // patterns in order, matches isolated; "digits1" = every digit by itself
	gpt2         bool     // then the ByteLevel pre-tokenizer's own pattern
	nfc          bool
	ignoreMerges bool
	bos          bool // a begin-of-text token unless the file says otherwise
}

// Patterns as the model's own files have them.
const (
	patLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patQwen35 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patGPT4o  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patTekken = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|` +
		`\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patDeepSeek3 = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|" +
		"\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
	patKimi = `[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patBailing   = `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`
	patSeedCoder = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+`
	patExaoneMoE = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|` +
		`\s*[\r\n]|\s+(?!\S)|\s+`
	patMiniCPM5 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patBloom    = ` ?[^(\s|.,!?…。，、।۔،)]+`
	patCJK      = "[一-龥\u3040-ゟ゠-ヿ]+"
	patDefault1 = `[\p{P}\$\+<=>\^~\|]+`
	patFalcon1  = "[\\p{P}\\$\\+<=>\\^~\\|`]+"
	patLetters  = `\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+`
	patMarks    = `\s?[!-/:-~！-／：-～‘-‟　-。]+`
	patHanDS    = "[一-龥ࠀ-一가-\ud7ff]+"
)

// ggufPre maps the names that llama.cpp knows to the models' own pre-tokenizers. Names whose rule is not certain, or not of this kind
// (afmoe, superbpe, tiny_aya, gemma4, chameleon, …), are absent, and an error.
var ggufPre = func() map[string]*preType {
	m := map[string]*preType{}
	set := func(p preType, names ...string) {
		for _, n := range names {
			m[n] = &p
		}
	}
	set(preType{splits: []string{patDefault1, gpt2Pattern, `\p{N}+`, `[0-9][0-9][0-9]`}}, "default")
	set(preType{splits: []string{patLlama3}, ignoreMerges: true, bos: true}, "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1",
		"pixtral", "midm-2.0", "lfm2")
	set(preType{splits: []string{patLlama3}}, "dbrx", "smaug-bpe", "chatglm-bpe")
	set(preType{splits: []string{patLlama3}, ignoreMerges: true}, "glm4", "glm5")
	set(preType{splits: []string{"[\r\n]", patLetters, patMarks, `\s+$`, patHanDS, `\p{N}+`}}, "deepseek-llm")
	set(preType{splits: []string{"[\r\n]", `\s?\p{L}+`, `\s?\p{P}+`, patHanDS, `\p{N}`}}, "deepseek-coder")
	set(preType{splits: []string{`\p{N}{1,3}`, patCJK, patDeepSeek3}}, "deepseek-v3", "hunyuan-dense", "joyai-llm")
	set(preType{splits: []string{patFalcon1, gpt2Pattern, `[0-9][0-9][0-9]`}}, "falcon")
	set(preType{splits: []string{"digits1"}, gpt2: true}, "smollm", "starcoder", "refact", "codeshell", "command-r", "exaone", "minerva-7b",
		"mellum2")
	set(preType{gpt2: true}, "gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum",
		"modern-bert", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4")
	set(preType{splits: []string{patQwen2}, nfc: true}, "qwen2", "megrez")
	set(preType{splits: []string{patQwen2}}, "deepseek-r1-qwen", "stablelm2", "hunyuan", "solar-open", "grok-2")
	set(preType{splits: []string{patQwen35}, nfc: true}, "qwen35")
	set(preType{splits: []string{patGPT4o}}, "gpt-4o", "llama4", "kanana2", "minimax-m2")
	set(preType{splits: []string{patTekken}, ignoreMerges: true, bos: true}, "tekken")
	set(preType{splits: []string{patBloom}}, "poro-chat", "bloom", "gpt3-finnish")
	set(preType{splits: []string{patBloom, `\p{N}`}}, "viking")
	set(preType{splits: []string{patBailing}}, "bailingmoe", "bailingmoe2", "llada-moe")
	set(preType{splits: []string{patSeedCoder}}, "seed-coder")
	set(preType{splits: []string{patExaoneMoE}}, "exaone-moe")
	set(preType{splits: []string{`\p{N}{1,3}`, patMiniCPM5}, ignoreMerges: true}, "minicpm5")
	set(preType{splits: []string{patKimi}}, "kimi-k2")
	return m
}()

// install sets the normalizer, pre-tokenizer and decoder.
func (p *preType) install(t *Tokenizer) error {
	type object = map[string]any
	var seq []object
	for _, pat := range p.splits {
		if pat == "digits1" {
			seq = append(seq, object{"type": "Digits", "individual_digits": true})
			continue
		}
		seq = append(seq, object{"type": "Split", "pattern": object{"Regex": pat}, "behavior": "Isolated", "invert": false})
	}
	seq = append(seq, object{"type": "ByteLevel", "add_prefix_space": false, "use_regex": p.gpt2})
	pre, err := json.Marshal(object{"type": "Sequence", "pretokenizers": seq})
	if err != nil {
		return fmt.Errorf("%w: %v", ErrFormat, err)
	}
	s := stages{pre: pre, dec: json.RawMessage(`{"type":"ByteLevel"}`)}
	if p.nfc {
		s.norm = json.RawMessage(`{"type":"NFC"}`)
	}
	return t.stage(s)
}
