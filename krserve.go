// Package krserve serves language models inside its caller's process.
package krserve

import (
	"fmt"

	"github.com/krserve/krserve/kvcache"
	"github.com/krserve/krserve/tokenizer"
)

// Tokenizer turns text into token ids and back. See [tokenizer.Tokenizer].
type Tokenizer = tokenizer.Tokenizer

// KVPool is a memory budget for keys and values. Engines share one through Config.Pool. See [kvcache.Pool].
type KVPool = kvcache.Pool

// NewKVPool returns an empty pool. The zero Options set no limit but each engine's own.
func NewKVPool(o kvcache.Options) (*KVPool, error) {
	p, err := kvcache.New(o)
	if err != nil {
		return nil, &Error{Op: "new pool", Err: fmt.Errorf("%w: %w", ErrInvalid, err)}
	}
	return p, nil
}
