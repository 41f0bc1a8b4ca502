package krserve

import "encoding/json"

// Message is one turn of a chat.
type Message struct {
	Role    string // "system", "user", "assistant" or "tool"
	Content string
	// Extra is a JSON object of further fields that the chat template may read, such as tool_calls; nil is none.
	Extra json.RawMessage
}

// Request is one generation. Exactly one of Messages, Prompt, Raw is set. The zero value of every sampling field
// is greedy decoding until the model stops or the context ends.
type Request struct {
	Messages []Message       // a chat, rendered with the model's template
	Raw      string          // text, encoded as is; special tokens spelled in it are recognised
	Prompt   []uint32        // token ids
	Tools    json.RawMessage // JSON array of tool definitions for the template
	Kwargs   json.RawMessage // JSON object of further template variables, such as {"enable_thinking": false}
	// AllowSpecial recognises special tokens spelled in the content of Messages; by default they are plain text.
	AllowSpecial bool

	// Tenant keeps cached prefixes apart: a request finds only those of its own tenant.
	Tenant string
	// Priority decides who starts first when requests wait: higher before lower. Among equals of a tenant it is the one
	// whose context has the earliest deadline; one without a deadline counts as due a minute after its Start.
	Priority int

	MaxTokens         int     // 0 = until the context ends
	Temperature       float32 // 0 = greedy
	TopK              int     // 0 = off
	TopP              float32 // 0 = off
	MinP              float32 // 0 = off
	RepetitionPenalty float32 // 0 = 1 = off
	PresencePenalty   float32
	FrequencyPenalty  float32
	LogitBias         map[uint32]float32 // added to the logits
	Seed              uint64             // 0 = random, reported by Stream.Seed
	Choice            uint32             // which of several answers to one request this is; part of the random key
	Stop              []string           // ends the answer; not part of its text
	StopIDs           []uint32           // end the answer, besides the model's own end tokens
	IgnoreEOS         bool               // the model's own end tokens do not end the answer
	// Mask restricts every token, as a grammar does: bit i%64 of allowed[i/64] stands for token i. All are set when it is
	// called; it clears those that may not follow the answer so far. It runs between steps, on a goroutine of the engine:
	// it must be quick, keep neither slice, and depend on its arguments alone, since it is also asked about guessed
	// tokens and asked again. Its error, or a mask that allows nothing, ends the stream with FinishError. End tokens of
	// the model are tokens like others: a mask decides where the answer may end.
	Mask func(answer []uint32, allowed []uint64) error

	LogProbs    bool // report log-probabilities
	TopLogProbs int  // and those of this many best tokens (≤ 20)
}

// Token is one step of a Stream.
type Token struct {
	ID   uint32
	Text string // text that became complete with this token; may be empty, never half a character
	// LogProb is the natural log-probability of ID before penalties and temperature; set when Request.LogProbs is.
	LogProb float32
	Top     []TokenLogProb // the best tokens at this position, best first
}

// TokenLogProb is a token and its natural log-probability.
type TokenLogProb struct {
	ID      uint32
	LogProb float32
}

// FinishReason says why a Stream ended.
type FinishReason string

const (
	FinishStop      FinishReason = "stop"      // an end token, a stop id or a stop string
	FinishLength    FinishReason = "length"    // MaxTokens or the context
	FinishCancelled FinishReason = "cancelled" // the context, Stream.Close or Engine.Close
	FinishError     FinishReason = "error"
)

// Usage counts the tokens of one request.
type Usage struct {
	PromptTokens     int
	CachedTokens     int // of PromptTokens, those whose keys and values were already held
	CompletionTokens int
}
