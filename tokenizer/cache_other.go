//go:build !linux

package tokenizer

func hugePages[E any]([]E) {}
