package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"time"
	"unicode/utf8"

	"github.com/krserve/krserve/tokenizer"
)

// tokenizerBench is what `bench tokenizer -json` prints. MB are 10⁶ bytes of text. The first encoding by a fresh process
// is cold, the best of the next ones warm.
type tokenizerBench struct {
	LoadMS    float64   `json:"load_ms"`
	Bytes     int       `json:"bytes"`
	Tokens    int       `json:"tokens"`
	ColdMBs   float64   `json:"cold_mb_s"`
	WarmMBs   float64   `json:"warm_mb_s"`    // ids in a new slice, unless -buffer
	BufferMBs float64   `json:"buffer_mb_s"`  // warm, into the slice of the encoding before
	PromptMBs float64   `json:"prompt_mb_s"`  // warm, the text as prompts of 20 KB, one call each
	CountMBs  float64   `json:"count_mb_s"`   // warm, no ids
	DecodeMBs float64   `json:"decode_mb_s"`  // into a new slice
	FirstMBs  float64   `json:"decode1_mb_s"` // the first decoding, which makes its table
	PeakMB    float64   `json:"peak_mb"`      // resident, after the warm encodings; 0 where the system does not tell
	SHA256    string    `json:"ids_sha256"`
	Threads   int       `json:"threads"`
	Name      string    `json:"tokenizer"`
	WarmReps  []float64 `json:"reps"`
}

const (
	promptBytes = 20_000
	warmReps    = 3
)

func benchTokenizer(c *call) error {
	path := c.flags.String("tokenizer", "", "tokenizer.json or its directory, a GGUF, a .tiktoken or a SentencePiece .model")
	file := c.flags.String("file", "", "text to encode")
	threads := c.flags.Int("threads", 1, "threads")
	limit := c.flags.Int("bytes", 0, "how much of the file; 0 is all of it")
	buffer := c.flags.Bool("buffer", false, "the first encoding, too, is written into a slice that is there")
	cache := c.flags.String("cache", "", "directory of compiled tokenizers; empty loads from the source")
	asJSON := c.flags.Bool("json", false, "print one JSON object")
	if err := c.parseOnly("bench tokenizer -tokenizer PATH -file F [-threads 1] [-bytes N] [-buffer] [-cache DIR] [-json]"); err != nil {
		return err
	}
	switch {
	case *path == "":
		return usage("-tokenizer is missing")
	case *file == "":
		return usage("-file is missing")
	case *threads < 1:
		return usage("-threads %d is below 1", *threads)
	case *limit < 0:
		return usage("-bytes %d is below 0", *limit)
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	if *limit > 0 && *limit < len(text) {
		n := *limit
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	out := tokenizerBench{Bytes: len(text), Threads: *threads, Name: *path}
	start := time.Now()
	t, err := tokenizer.OpenConfig(*path, tokenizer.Config{Threads: *threads, CacheDir: *cache})
	if err != nil {
		return err
	}
	out.LoadMS = time.Since(start).Seconds() * 1e3
	if err := out.run(t, text, *buffer); err != nil {
		return err
	}
	if *asJSON {
		return printJSON(c.stdout, out)
	}
	_, err = fmt.Fprintf(c.stdout, "load %.1f ms, %d bytes, %d tokens, cold %.1f MB/s, warm %.1f MB/s (into a buffer %.1f, as prompts %.1f), decode %.1f MB/s, %d thread(s)\n",
		out.LoadMS, out.Bytes, out.Tokens, out.ColdMBs, out.WarmMBs, out.BufferMBs, out.PromptMBs, out.DecodeMBs, out.Threads)
	return err
}

func (out *tokenizerBench) run(t *tokenizer.Tokenizer, text []byte, buffer bool) error {
	rate := func(do func()) float64 {
		start := time.Now()
		do()
		return float64(len(text)) / 1e6 / time.Since(start).Seconds()
	}
	best := func(do func()) (mbs float64) {
		for range warmReps {
			mbs = max(mbs, rate(do))
		}
		return mbs
	}
	var ids []uint32
	if buffer {
		ids = make([]uint32, len(text)+16)
		for i := range ids { // so that the system has given its pages
			ids[i] = 1
		}
	}
	out.ColdMBs = rate(func() { ids = t.AppendEncode(ids[:0:cap(ids)], text) })
	out.Tokens, out.SHA256 = len(ids), idsSHA256(ids)
	var again []uint32
	for range warmReps {
		if buffer {
			again = ids
		} else {
			again = nil
		}
		mbs := rate(func() { again = t.AppendEncode(again[:0], text) })
		if len(again) != out.Tokens {
			return fmt.Errorf("an encoding has %d tokens, the first %d", len(again), out.Tokens)
		}
		out.WarmReps = append(out.WarmReps, mbs)
		out.WarmMBs = max(out.WarmMBs, mbs)
	}
	out.PeakMB = peakMB()
	out.BufferMBs = best(func() { again = t.AppendEncode(again[:0], text) })
	out.PromptMBs = best(func() {
		for rest := text; len(rest) > 0; {
			n := min(promptBytes, len(rest))
			for n < len(rest) && !utf8.RuneStart(rest[n]) {
				n++
			}
			again = t.AppendEncode(again[:0], rest[:n])
			rest = rest[n:]
		}
	})
	whole := string(text)
	counted := 0
	out.CountMBs = best(func() { counted = t.Count(whole) })
	if counted != out.Tokens {
		return fmt.Errorf("%d tokens were counted, %d encoded", counted, out.Tokens)
	}
	decode := func() { t.AppendDecode(nil, ids, false) }
	out.FirstMBs = rate(decode)
	out.DecodeMBs = best(decode)
	return nil
}

// idsSHA256 hashes ids as little-endian uint32.
func idsSHA256(ids []uint32) string {
	h := sha256.New()
	var buf [4096]byte
	for len(ids) > 0 {
		n := min(len(ids), len(buf)/4)
		for i, id := range ids[:n] {
			binary.LittleEndian.PutUint32(buf[4*i:], id)
		}
		h.Write(buf[:4*n])
		ids = ids[n:]
	}
	return hex.EncodeToString(h.Sum(nil))
}
