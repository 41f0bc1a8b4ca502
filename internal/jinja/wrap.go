package jinja

import (
	"html"
	"strings"
	"unicode"
)

func unescapeHTML(s string) string { return html.UnescapeString(s) }

// wrapLine follows Python's textwrap.wrap without tab expansion, for one line.
func wrapLine(s string, width int, breakLong, hyphens bool) []string {
	chunks := wrapChunks(s, hyphens)
	var lines []string
	for i := 0; i < len(chunks); {
		if strings.TrimFunc(chunks[i], asciiSpace) == "" && len(lines) > 0 {
			i++
			continue
		}
		var cur []string
		n := 0
		for i < len(chunks) {
			l := runeCount(chunks[i])
			if n+l > width {
				break
			}
			cur = append(cur, chunks[i])
			n += l
			i++
		}
		if i < len(chunks) && runeCount(chunks[i]) > width {
			switch space := width - n; {
			case breakLong:
				space = max(space, 1)
				c := chunks[i]
				end := byteOffset(c, space)
				if hyphens {
					if h := strings.LastIndexByte(c[:end], '-'); h > 0 && strings.Trim(c[:h], "-") != "" {
						end = h + 1
					}
				}
				cur = append(cur, c[:end])
				chunks[i] = c[end:]
			case len(cur) == 0:
				cur = append(cur, chunks[i])
				i++
			}
		}
		if len(cur) > 0 && strings.TrimFunc(cur[len(cur)-1], asciiSpace) == "" {
			cur = cur[:len(cur)-1]
		}
		if len(cur) > 0 {
			lines = append(lines, strings.Join(cur, ""))
		}
	}
	return lines
}

func asciiSpace(r rune) bool { return r < 0x80 && strings.ContainsRune("\t\n\x0b\x0c\r ", r) }

// wrapChunks splits a line into words, runs of whitespace and, with hyphens, parts of hyphenated words.
func wrapChunks(s string, hyphens bool) []string {
	var out []string
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { return asciiSpace(r) != asciiSpace(firstRune(s)) })
		if n < 0 {
			n = len(s)
		}
		word := s[:n]
		s = s[n:]
		for hyphens && !asciiSpace(firstRune(word)) {
			at := hyphenBreak(word)
			if at <= 0 {
				break
			}
			out = append(out, word[:at])
			word = word[at:]
		}
		out = append(out, word)
	}
	return out
}

// hyphenBreak is where a word may be broken after a hyphen between letters.
func hyphenBreak(w string) int {
	rs := []rune(w)
	at := 0
	for i, r := range rs {
		at += len(string(r))
		if r == '-' && i >= 2 && i+2 < len(rs) && unicode.IsLetter(rs[i-1]) && isWord(rs[i-2]) && unicode.IsLetter(rs[i+1]) && isWord(rs[i+2]) {
			return at
		}
	}
	return 0
}
