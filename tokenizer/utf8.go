package tokenizer

import (
	"unicode/utf8"
	"unsafe"
)

// validText is utf8.Valid, by blocks where there is a kernel.
func validText(b []byte) bool {
	if len(b) < 4*blockBytes || !hasValidBlocks() {
		return utf8.Valid(b)
	}
	// The begin is checked up to a character's end, the rest block by block, what is left from a copy with zeros
	// behind it, in which a character that is cut off is an error.
	var buf [2 * blockBytes]byte
	n := copy(buf[blockBytes:], b[:blockBytes])
	if !validBlocks(unsafe.Pointer(&buf[blockBytes]), n) {
		return false
	}
	whole := (len(b) - blockBytes) / blockBytes * blockBytes
	if !validBlocks(unsafe.Pointer(&b[blockBytes]), whole) {
		return false
	}
	at := blockBytes + whole
	buf = [2 * blockBytes]byte{}
	copy(buf[blockBytes-4:], b[at-4:])
	return validBlocks(unsafe.Pointer(&buf[blockBytes]), blockBytes)
}
