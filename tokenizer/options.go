package tokenizer

// Config tunes a Tokenizer. Zero values are the defaults.
type Config struct {
	Threads          int   // goroutines for one long text or a batch; 0 = GOMAXPROCS
	CacheBytes       int64 // bound of the cache of pieces, which all threads share; 0 = 32 MiB, below 0 = none to speak of
	MinParallelBytes int   // texts shorter than this are encoded by one thread; 0 = 64 KiB

	// CacheDir is where Open keeps compiled tokenizers, which load ten times faster; "" keeps none. It is made if need be. What is
	// compiled belongs to the contents of the files that it comes from; a directory that cannot be used is no error. Compiled are
	// tokenizer.json, GGUF and .tiktoken files. A compiled tokenizer stays mapped as long as the process lives.
	CacheDir string
}

// SpecialMode says what becomes of special tokens that are spelled in a text.
type SpecialMode uint8

const (
	Recognise SpecialMode = iota // they become their ids
	Refuse                       // they are an error, *SpecialTokenError
	AsText                       // they are text like any other
)

// Span is a stretch [Start, End).
type Span struct{ Start, End int }

// OffsetUnit says in which unit offsets are given.
type OffsetUnit uint8

const (
	NoOffsets   OffsetUnit = iota // none
	ByteOffsets                   // bytes of the text
	CharOffsets                   // code points of the text
)

// Options steer one encoding. The zero value recognises special tokens and adds none.
type Options struct {
	AddSpecial bool        // add what the model's post-processor adds, such as a begin-of-text token
	Special    SpecialMode // special tokens spelled in the text
	// Plain are stretches of the text, in bytes, ascending and disjoint, in which special tokens are text. The text is cut into
	// pieces as a whole, so that words and spaces at the borders of a stretch join as they would without it.
	Plain    []Span
	Offsets  OffsetUnit // what EncodeFull reports for every token
	Truncate *Truncation
	Pad      *Padding
}

// Truncation bounds the number of tokens, those of the post-processor included.
type Truncation struct {
	Max    int
	Left   bool // drop tokens at the beginning instead of the end
	Stride int  // tokens that neighbouring parts share; the parts cut off are in Encoding.Overflow
	// Strategy says which text of a pair is cut.
	Strategy TruncateStrategy
}

// TruncateStrategy says which text of a pair is cut.
type TruncateStrategy uint8

const (
	LongestFirst TruncateStrategy = iota // the longer one down to the other, then both
	OnlyFirst
	OnlySecond
)

// Padding fills up to a length.
type Padding struct {
	To         int // number of tokens; 0 = the longest of the batch
	MultipleOf int // round the length up to a multiple; 0 = off
	ID         uint32
	TypeID     uint32
	Left       bool
}

// Encoding is what EncodeFull gives. All slices are as long as IDs; Offsets is nil unless asked for.
type Encoding struct {
	IDs       []uint32
	TypeIDs   []uint32 // 0 for the first text, 1 for the second, as the post-processor says
	Offsets   []Span   // of the token in its text; added tokens have {0, 0}
	Words     []int32  // number of the pre-tokenizer's piece, -1 for added tokens
	Special   []bool   // added by the post-processor or by padding
	Attention []bool   // false for padding
	Overflow  []*Encoding

	blanks []blanks // of the tokens, while offsets are trimmed
}
