package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/krserve/krserve/tokenizer"
)

func runTokenize(_ context.Context, c *call) error {
	path := c.flags.String("tokenizer", "", "tokenizer.json or its directory, a GGUF, a .tiktoken or a SentencePiece .model")
	special := c.flags.Bool("special", false, "add special tokens, as the model's post-processor does")
	decode := c.flags.Bool("decode", false, `{"ids", "skip_special"?} to {"text"}`)
	if err := c.parseOnly("tokenize -tokenizer PATH [-special | -decode] <lines >lines"); err != nil {
		return err
	}
	switch {
	case *path == "":
		return usage("-tokenizer is missing")
	case *special && *decode:
		return usage("-special and -decode exclude each other")
	}
	t, err := tokenizer.OpenConfig(*path, tokenizer.Config{CacheDir: cacheDir()})
	if err != nil {
		return err
	}
	if *decode {
		return jsonLines(c.stdin, c.stdout, func(line []byte) (any, error) { return decodeLine(t, line) })
	}
	var buf []byte
	return jsonLines(c.stdin, c.stdout, func(line []byte) (any, error) {
		var in struct {
			Text *string `json:"text"`
		}
		if err := object(line, &in); err != nil {
			return nil, err
		}
		if in.Text == nil {
			return nil, errors.New(`no field "text"`)
		}
		ids, err := t.EncodeWith(*in.Text, tokenizer.Options{AddSpecial: *special})
		if err != nil {
			return nil, err
		}
		buf = append(appendIDs(append(buf[:0], `{"ids":`...), ids), '}')
		return rawLine(buf), nil
	})
}

// appendIDs appends a JSON array; encoding/json takes several times as long.
func appendIDs(dst []byte, ids []uint32) []byte {
	dst = append(dst, '[')
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(id), 10)
	}
	return append(dst, ']')
}

func decodeLine(t *tokenizer.Tokenizer, line []byte) (any, error) {
	var in struct {
		IDs         *[]uint32 `json:"ids"`
		SkipSpecial bool      `json:"skip_special"`
	}
	if err := object(line, &in); err != nil {
		return nil, err
	}
	if in.IDs == nil {
		return nil, errors.New(`no field "ids"`)
	}
	return struct {
		Text string `json:"text"`
	}{string(t.AppendDecode(nil, *in.IDs, in.SkipSpecial))}, nil
}
