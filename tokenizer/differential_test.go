package tokenizer

import (
	"bufio"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/krserve/krserve/internal/testenv"
)

// Flags of a request; see testdata/reference.py.
const (
	askSpecial = 1 << iota
	askOffsets
	askDecoded
)

// reference is a process that answers with what the reference says.
type reference struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// answer is what the reference says about a text.
type answer struct {
	ids     []uint32
	spans   []Span // in code points
	decoded string
}

func startReference(tb testing.TB, file string) *reference {
	tb.Helper()
	in, out := startPython(tb, "reference.py", file)
	return &reference{in, out}
}

// startPython runs a program of testdata until the test ends.
func startPython(tb testing.TB, args ...string) (io.WriteCloser, *bufio.Reader) {
	tb.Helper()
	args[0] = filepath.Join("testdata", args[0])
	cmd := exec.Command(testenv.Fetched(tb, "venv", "bin", "python"), args...)
	cmd.Env = append(os.Environ(), "TOKENIZERS_PARALLELISM=false")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Error(err)
		}
	})
	return in, bufio.NewReaderSize(out, 1<<20)
}

func (r *reference) ask(tb testing.TB, text string, flags uint32) (a answer) {
	tb.Helper()
	buf := binary.LittleEndian.AppendUint32(nil, uint32(len(text)))
	if _, err := r.in.Write(append(binary.LittleEndian.AppendUint32(buf, flags), text...)); err != nil {
		tb.Fatal(err)
	}
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(r.out, b); err != nil {
			tb.Fatal(err)
		}
		return b
	}
	u32 := func(n int) []uint32 {
		b, v := read(4*n), make([]uint32, n)
		for i := range v {
			v[i] = binary.LittleEndian.Uint32(b[4*i:])
		}
		return v
	}
	a.ids = u32(int(u32(1)[0]))
	if flags&askOffsets != 0 {
		o := u32(2 * len(a.ids))
		for i := range a.ids {
			a.spans = append(a.spans, Span{int(o[2*i]), int(o[2*i+1])})
		}
	}
	if flags&askDecoded != 0 {
		a.decoded = string(read(int(u32(1)[0])))
	}
	return a
}

// compare compares ids, and with the flags offsets and decoded text. It shows the shortest prefix on which ids differ.
func (r *reference) compare(tb testing.TB, tok *Tokenizer, text string, flags uint32) bool {
	tb.Helper()
	want := r.ask(tb, text, flags)
	got := tok.Encode(text)
	if slices.Equal(got, want.ids) {
		if n := tok.Count(text); n != len(got) {
			tb.Errorf("%d bytes: Count gives %d of %d ids", len(text), n, len(got))
			return false
		}
		if flags&askDecoded != 0 && tok.Decode(got) != want.decoded {
			tb.Errorf("%d bytes: decoded texts differ: %.200q", len(text), text)
			return false
		}
		if flags&askOffsets != 0 {
			e, err := tok.EncodeFull(text, Options{Offsets: CharOffsets})
			if err != nil || !slices.Equal(e.IDs, got) {
				tb.Errorf("%d bytes: ids with offsets differ: %v %.200q", len(text), err, text)
				return false
			}
			for i, s := range e.Offsets {
				if s != want.spans[i] {
					tb.Errorf("%d bytes: token %d is at %v, want %v, in %.200q", len(text), i, s, want.spans[i], text)
					return false
				}
			}
		}
		return true
	}
	lo, hi := 0, len(text) // text[:lo] agrees
	for hi-lo > 1 && len(text) > 200 {
		m := (lo + hi) / 2
		for m > lo && !utf8.RuneStart(text[m]) {
			m--
		}
		if m == lo {
			break
		}
		if w := r.ask(tb, text[:m], 0); slices.Equal(tok.Encode(text[:m]), w.ids) {
			lo = m
		} else {
			hi = m
		}
	}
	from := max(0, hi-100)
	for from < hi && !utf8.RuneStart(text[from]) {
		from++
	}
	w := r.ask(tb, text[from:hi], 0)
	tb.Errorf("%d bytes: ids differ, first within the %d bytes that end in %q\n there: got %v\nwant %v", len(text), hi, text[from:hi],
		tok.Encode(text[from:hi]), w.ids)
	return false
}

// randomUnicode mixes characters of all kinds: plain ones, marks, ligatures, controls, any code point, spelled special tokens.
func randomUnicode(r *rand.Rand, tok *Tokenizer, n int) string {
	var specials []string
	for _, a := range tok.addedByID {
		specials = append(specials, a.content)
	}
	slices.Sort(specials)
	if len(specials) > 40 {
		specials = append(specials[:20], specials[len(specials)-20:]...)
	}
	var b strings.Builder
	blocks := []rune{0x20, 0x41, 0x61, 0x30, 0xc0, 0x100, 0x250, 0x300, 0x370, 0x400, 0x5d0, 0x600, 0x900, 0xe00, 0x1100, 0x1e00, 0x2000, 0x2100,
		0x2500, 0x3000, 0x3040, 0x30a0, 0x4e00, 0xac00, 0xf900, 0xfb00, 0xfe00, 0xff00, 0x1d400, 0x1f300, 0x1f600, 0x20000, 0xe0000}
	for b.Len() < n {
		switch r.IntN(12) {
		case 0, 1:
			for range 1 + r.IntN(6) {
				b.WriteByte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[r.IntN(52)])
			}
		case 2:
			b.WriteString(strings.Repeat(" ", 1+r.IntN(4)))
		case 3:
			b.WriteString([]string{"\n", "\r", "\t", "\v", "\f", "\x00", "\x1c", "\u0085", "\u2028"}[r.IntN(9)])
		case 4:
			for range 1 + r.IntN(5) {
				b.WriteByte(byte('0' + r.IntN(10)))
			}
		case 5:
			b.WriteByte("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"[r.IntN(32)])
		case 6:
			b.WriteString([]string{"'s", "'T", "'ll", "'RE", "'ſ", "’s", "ﬁ", "ß", "İ", "ı", "K", "▁", "\u00a0", "\u200d", "\u3000", "<0x0A>", "##a"}[r.IntN(17)])
		case 7:
			if len(specials) > 0 {
				b.WriteString(specials[r.IntN(len(specials))])
			}
		case 8:
			for range 1 + r.IntN(4) {
				b.WriteRune(0x300 + rune(r.IntN(0x70)))
			}
		case 9, 10:
			base := blocks[r.IntN(len(blocks))]
			for range 1 + r.IntN(8) {
				b.WriteRune(base + rune(r.IntN(0x80)))
			}
		default:
			c := rune(r.IntN(0x110000))
			if c >= 0xd800 && c < 0xe000 {
				c = 0xfffd
			}
			b.WriteRune(c)
		}
	}
	return b.String()
}
