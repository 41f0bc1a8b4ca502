package tokenizer

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// normCharsmap is SentencePiece's compiled normaliser: a Darts double array from byte strings to offsets of replacements, which end in
// a zero byte. The reference applies it to grapheme clusters below six bytes first, then to characters.
type normCharsmap struct {
	units []uint32
	text  []byte
}

func parseCharsmap(b []byte) (normalizer, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("%w: charsmap of %d bytes", ErrFormat, len(b))
	}
	n := int(binary.LittleEndian.Uint32(b)) / 4
	if n < 1 || n > (len(b)-4)/4 {
		return nil, fmt.Errorf("%w: charsmap: trie of %d units in %d bytes", ErrFormat, n, len(b))
	}
	c := &normCharsmap{units: make([]uint32, n), text: b[4+4*n:]}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(b[4+4*i:])
	}
	if !utf8.Valid(c.text) {
		return nil, fmt.Errorf("%w: charsmap: replacements are not UTF-8", ErrFormat)
	}
	c.text = append([]byte(nil), c.text...)
	return c, nil
}

// lookup finds the replacement of the shortest prefix of key that has one, as HF tokenizers does.
func (c *normCharsmap) lookup(key []byte) (string, bool) {
	s, n := c.find(key, false)
	return s, n > 0
}

// longest finds the replacement of the longest prefix of key that has one, as SentencePiece does; n is that prefix's length.
func (c *normCharsmap) longest(key []byte) (s string, n int) { return c.find(key, true) }

func (c *normCharsmap) find(key []byte, longest bool) (s string, n int) {
	offset := func(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }
	at := offset(c.units[0])
	best := -1
	for i, k := range key {
		if k == 0 {
			break
		}
		at ^= uint32(k)
		if at >= uint32(len(c.units)) {
			break
		}
		u := c.units[at]
		if u&(1<<31|0xff) != uint32(k) {
			break
		}
		at ^= offset(u)
		if u>>8&1 == 1 {
			if at >= uint32(len(c.units)) {
				break
			}
			from := int(c.units[at] & (1<<31 - 1))
			if from > len(c.text) {
				break
			}
			best, n = from, i+1
			if !longest {
				break
			}
		}
	}
	if best < 0 {
		return "", 0
	}
	to := best
	for to < len(c.text) && c.text[to] != 0 {
		to++
	}
	return string(c.text[best:to]), n
}

func (c *normCharsmap) normalize(n *nstring) {
	var cs []change
	modified := false
	replace := func(old []byte, s string) {
		from := len(cs)
		for _, r := range s {
			cs = append(cs, change{r, 0})
		}
		diff := len(cs) - from - utf8.RuneCount(old)
		if diff > 0 {
			for i := len(cs) - diff; i < len(cs); i++ {
				cs[i].d = 1
			}
		} else if diff < 0 && len(cs) > 0 {
			cs[len(cs)-1].d += diff
		}
		modified = true
	}
	rest, state := n.text, -1
	for len(rest) > 0 {
		var g []byte
		if c := rest[0]; c < 0x80 && c != '\r' && (len(rest) == 1 || rest[1] < 0x80) {
			g, rest, state = rest[:1], rest[1:], -1
		} else {
			g, rest, _, state = uniseg.FirstGraphemeCluster(rest, state)
		}
		if len(g) < 6 {
			if s, ok := c.lookup(g); ok {
				replace(g, s)
				continue
			}
		}
		for i := 0; i < len(g); {
			r, w := utf8.DecodeRune(g[i:])
			if s, ok := c.lookup(g[i : i+w]); ok {
				replace(g[i:i+w], s)
			} else {
				cs = append(cs, change{r, 0})
			}
			i += w
		}
	}
	if modified {
		n.apply(cs)
	}
}
