package tokenizer

import (
	"math/bits"
	"unicode/utf8"
	"unsafe"
)

// nfcPrefix gives the length of a prefix that is in NFC and ends before an inert character, or all of text. Marks that
// stand alone behind an inert character are in order.
func nfcPrefix(t *classTable, text []byte) int {
	i := 0
	for i+blockBytes < len(text) {
		n, mask := suspects(&t.nfcRows, unsafe.Pointer(&text[i]), (len(text)-i-1)/blockBytes)
		i += n * blockBytes
		if mask == 0 {
			break
		}
		for ; mask != 0; mask &= mask - 1 {
			if j := i + bits.TrailingZeros64(mask); nfcStops(t, text, j) {
				return inertBefore(t, text, j)
			}
		}
		i += blockBytes
	}
	for i > 0 && i < len(text) && !utf8.RuneStart(text[i]) {
		i--
	}
	for i < len(text) {
		if text[i] < 0xcc { // below U+0300
			i++
			continue
		}
		if nfcStops(t, text, i) {
			return inertBefore(t, text, i)
		}
		_, n := t.at(text, i)
		i += n
	}
	return len(text)
}

// nfcStops reports that NFC may change the character at i, or that it is a mark behind another.
func nfcStops(t *classTable, text []byte, i int) bool {
	c, _ := t.at(text, i)
	if c&clsMark != 0 && i > 0 {
		b, _ := t.at(text, before(text, i))
		c |= b & clsMark * (clsNFC / clsMark)
	}
	return c&clsNFC != 0
}

// inertBefore gives the begin of the last inert character before i, or 0.
func inertBefore(t *classTable, text []byte, i int) int {
	for i > 0 {
		i = before(text, i)
		if c, _ := t.at(text, i); c&(clsMark|clsNFC) == 0 {
			break
		}
	}
	return i
}

// before gives the begin of the character that ends at i > 0.
func before(text []byte, i int) int {
	for i--; i > 0 && !utf8.RuneStart(text[i]); i-- {
	}
	return i
}

// newNFCRows makes the tables of suspects: a lead byte of 0xC0 to 0xFF and the byte behind it have a bit in common when
// NFC may change a character that begins so, or when it is a mark. Seven bits tell lead bytes apart; the eighth is
// for those whose every character is to be looked at.
func newNFCRows(flat []uint8) (rows [8][16]byte) {
	for i := range 64 {
		rows[4+i>>4][i&15] = 0x80
	}
	bit := 0
	for _, lead := range []int{0xe3, 0xe2, 0xef, 0xea, 0xe1, 0xf0, 0xe0} { // the rest have few or only such characters
		for second := range 64 {
			from, n := (lead&0xf)<<12|second<<6, 1<<6
			if lead >= 0xf0 {
				from, n = (lead&7)<<18|second<<12, 1<<12
			}
			for _, c := range flat[from : from+n] {
				if c&(clsMark|clsNFC) != 0 {
					rows[4+second>>4][second&15] |= 1 << bit
				}
			}
		}
		rows[(lead-0xc0)>>4][lead&15] = 1 << bit
		bit++
	}
	for r, c := range flat {
		if c&(clsMark|clsNFC) != 0 && utf8.ValidRune(rune(r)) {
			if lead := utf8.AppendRune(nil, rune(r))[0] - 0xc0; rows[lead>>4][lead&15] == 0 {
				rows[lead>>4][lead&15] = 0x80
			}
		}
	}
	return rows
}

// suspectsGo is suspects for text in UTF-8.
func suspectsGo(rows *[8][16]byte, p unsafe.Pointer, n int) (blocks int, mask uint64) {
	for ; blocks < n; blocks++ {
		b := (*[blockBytes + 1]byte)(unsafe.Add(p, blocks*blockBytes))
		for j := 0; j < blockBytes; j += 8 {
			if load64(unsafe.Pointer(&b[j]))&0x8080808080808080 == 0 {
				continue
			}
			for i := j; i < j+8; i++ {
				if c := b[i]; c >= 0xc0 && rows[c>>4&3][c&15]&rows[4+b[i+1]>>4&3][b[i+1]&15] != 0 {
					mask |= 1 << i
				}
			}
		}
		if mask != 0 {
			break
		}
	}
	return blocks, mask
}

// appendNFCFrom is appendNFC by the class table, where nfcPrefix gave n: what is in NFC is copied in long stretches.
func appendNFCFrom(dst, text []byte, n int) []byte {
	t := classTables[scanQwen2]()
	var cluster []change
	for {
		for n > 0 { // in steps, as nothing can stop a copy
			k := min(n, 1<<16)
			dst, text, n = append(dst, text[:k]...), text[k:], n-k
		}
		if len(text) == 0 {
			return dst
		}
		// A cluster: one character, and those behind it that NFC may change or join to it.
		_, n = t.at(text, 0)
		for n < len(text) {
			c, k := t.at(text, n)
			if c&(clsNFC|clsMark) == 0 {
				break
			}
			n += k
		}
		cluster = compose(decompose(cluster[:0], text[:n], false))
		dst = appendChanges(dst, cluster)
		text = text[n:]
		n = nfcPrefix(t, text)
	}
}
