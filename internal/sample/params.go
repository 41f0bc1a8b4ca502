// Package sample turns a row of logits into a token.
//
// The order is that of Hugging Face and vLLM: logit bias, repetition penalty, frequency and presence penalty,
// temperature, top-k, top-p, min-p, draw. Top-k, top-p and min-p each keep a prefix of the candidates in descending
// order of logit, equal logits in ascending order of id:
//
//   - top-k keeps the first k;
//   - top-p keeps the shortest prefix whose mass is at least p of the mass that top-k left;
//   - min-p keeps those at least p times as likely as the first.
//
// The draw inverts the distribution at a 53-bit number that depends on (seed, choice, position) alone, so a request
// draws the same tokens whatever else runs. A candidate less likely than the best by more than exp(-60) is below
// that number's resolution and has weight 0.
package sample

import (
	"fmt"
	"math"
	"slices"
)

// MaxTop is the largest Params.Top.
const MaxTop = 20

// Bias is added to the logit of one token; -Inf bans it.
type Bias struct {
	ID    uint32
	Value float32
}

// Params are one sequence's sampling settings. The zero value is greedy decoding.
type Params struct {
	Temperature float32 // 0 = greedy
	TopK        int     // 0 = off
	TopP        float32 // 0 = off
	MinP        float32 // 0 = off
	Repetition  float32 // 0 = 1 = off; divides positive and multiplies negative logits of tokens in prompt and answer
	Presence    float32 // subtracted from the logit of every token in the answer
	Frequency   float32 // the same, times the token's count
	Bias        []Bias
	Seed        uint64
	Choice      uint32
	LogProbs    bool // report the log-probability of the drawn token
	Top         int  // and of this many best ones
}

// RangeError says which field of Params is out of range.
type RangeError struct {
	Field string
	Value any
	Want  string
}

func (e *RangeError) Error() string { return fmt.Sprintf("%s = %v: want %s", e.Field, e.Value, e.Want) }

// Validate returns a *RangeError for the first field out of range, given the vocabulary's size.
func (p *Params) Validate(vocab int) error {
	finite := func(x float32) bool { return !math.IsNaN(float64(x)) && !math.IsInf(float64(x), 0) }
	switch {
	case !finite(p.Temperature) || p.Temperature < 0:
		return &RangeError{"Temperature", p.Temperature, "a finite number ≥ 0"}
	case p.TopK < 0:
		return &RangeError{"TopK", p.TopK, "≥ 0"}
	case !(p.TopP >= 0 && p.TopP <= 1):
		return &RangeError{"TopP", p.TopP, "0 to 1"}
	case !(p.MinP >= 0 && p.MinP <= 1):
		return &RangeError{"MinP", p.MinP, "0 to 1"}
	case !finite(p.Repetition) || p.Repetition < 0:
		return &RangeError{"RepetitionPenalty", p.Repetition, "a finite number > 0, or 0 for none"}
	case !finite(p.Presence):
		return &RangeError{"PresencePenalty", p.Presence, "a finite number"}
	case !finite(p.Frequency):
		return &RangeError{"FrequencyPenalty", p.Frequency, "a finite number"}
	case p.Top < 0 || p.Top > MaxTop:
		return &RangeError{"TopLogProbs", p.Top, fmt.Sprintf("0 to %d", MaxTop)}
	}
	for _, b := range p.Bias {
		if int64(b.ID) >= int64(vocab) {
			return &RangeError{"LogitBias", b.ID, fmt.Sprintf("token ids below %d", vocab)}
		}
		if math.IsNaN(float64(b.Value)) || math.IsInf(float64(b.Value), 1) {
			return &RangeError{"LogitBias", b.Value, "finite values, or -Inf to ban a token"}
		}
	}
	return nil
}

// normalise maps every spelling of "off" to zero and fixes the order of biases.
func (p Params) normalise(vocab int) Params {
	if p.Repetition == 1 {
		p.Repetition = 0
	}
	if p.TopP == 1 {
		p.TopP = 0
	}
	if p.TopK >= vocab {
		p.TopK = 0
	}
	p.Bias = slices.Clone(p.Bias)
	slices.SortStableFunc(p.Bias, func(a, b Bias) int { return int(int64(a.ID) - int64(b.ID)) })
	return p
}
