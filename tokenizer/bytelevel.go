package tokenizer

import "unicode/utf8"

// The byte-level alphabet of GPT-2: every byte as a printable character.
var (
	byteRune = func() (t [256]rune) {
		n := rune(256)
		for b := range 256 {
			if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
				t[b] = rune(b)
			} else {
				t[b] = n
				n++
			}
		}
		return
	}()
	// runeByte is the inverse, -1 where a character is not of the alphabet.
	runeByte = func() (t [324]int16) {
		for i := range t {
			t[i] = -1
		}
		for b, r := range byteRune {
			t[r] = int16(b)
		}
		return
	}()
)

// appendAlphabet appends bytes spelled in the byte-level alphabet.
func appendAlphabet(dst, b []byte) []byte {
	for _, c := range b {
		dst = utf8.AppendRune(dst, byteRune[c])
	}
	return dst
}

// appendUnalphabet appends the bytes that a text of the byte-level alphabet spells; ok is false when it has other characters.
func appendUnalphabet[T string | []byte](dst []byte, s T) (out []byte, ok bool) {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if b := runeByte[c]; b < 0 {
				return dst, false
			}
			dst = append(dst, c)
			i++
			continue
		}
		if c > 0xc5 || i+1 >= len(s) { // the alphabet ends at U+0143
			return dst, false
		}
		r := int(c&31)<<6 | int(s[i+1]&63)
		if r >= len(runeByte) || runeByte[r] < 0 {
			return dst, false
		}
		dst = append(dst, byte(runeByte[r]))
		i += 2
	}
	return dst, true
}
