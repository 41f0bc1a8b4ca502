// Command tokenize counts the tokens of standard input: go run ./examples/go/tokenize TOKENIZER <README.md
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/krserve/krserve/tokenizer"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: tokenize TOKENIZER")
		os.Exit(2)
	}
	if err := count(os.Args[1], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func count(path string, r io.Reader) error {
	tok, err := tokenizer.Open(path)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	fmt.Println(len(tok.AppendEncode(nil, text)))
	return nil
}
