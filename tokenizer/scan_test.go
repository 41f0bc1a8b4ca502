package tokenizer

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"slices"
	"testing"
)

var scanNames = map[string]scanKind{
	"gpt2": scanGPT2, "smol": scanSmol, "qwen2": scanQwen2, "cl100k": scanCL100K, "o200k": scanO200K, "deepseek": scanDeepSeek,
}

type pieceCase struct {
	Text string
	Ends map[string][]int
}

// pieceCases reads what gen/pieces.py wrote.
func pieceCases(tb testing.TB, path string) (cases []pieceCase) {
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	s := bufio.NewScanner(z)
	s.Buffer(nil, 1<<24)
	for s.Scan() {
		var c pieceCase
		if err := json.Unmarshal(s.Bytes(), &c); err != nil {
			tb.Fatal(err)
		}
		cases = append(cases, c)
	}
	if len(cases) == 0 {
		tb.Fatal("no cases")
	}
	return cases
}

func piecesFile() string {
	if f := os.Getenv("KRSERVE_PIECES"); f != "" {
		return f
	}
	return "testdata/pieces.jsonl.gz"
}

func TestStepsAgainstHF(t *testing.T) {
	for _, c := range pieceCases(t, piecesFile()) {
		for name, kind := range scanNames {
			tab := classTables[kind]()
			var got []int
			text := []byte(c.Text)
			for i := 0; i < len(text); {
				i = steppers[kind](tab, text, i)
				got = append(got, i)
			}
			if !slices.Equal(got, c.Ends[name]) {
				t.Fatalf("%s %q:\n got %v\nwant %v", name, text, got, c.Ends[name])
			}
		}
	}
}

// scanAll gives all piece ends by blocks where possible, as encoding does.
func scanAll(s *blockScanner, text []byte) (ends []int) {
	out := make([]uint32, 200)
	pos := 0
	for pos+blockRead <= len(text) {
		next, k := s.scan(text, pos, len(text)-blockRead, out, 0)
		for _, e := range out[:k] {
			ends = append(ends, int(e))
		}
		pos = next
	}
	for pos < len(text) {
		pos = s.step(s.tab, text, pos)
		ends = append(ends, pos)
	}
	return ends
}

func TestBlocksAgainstSteps(t *testing.T) {
	// Texts are joined so that pieces fall on all places of a block.
	var all []byte
	for i, c := range pieceCases(t, piecesFile()) {
		all = append(all, c.Text...)
		text := []byte(c.Text)
		if i%5 == 4 {
			text, all = all, nil
		}
		for name, kind := range scanNames {
			s := newBlockScanner(kind, nil)
			var want []int
			for i := 0; i < len(text); {
				i = s.step(s.tab, text, i)
				want = append(want, i)
			}
			got := scanAll(s, text)
			if !slices.Equal(got, want) {
				k := 0
				for k < len(got) && k < len(want) && got[k] == want[k] {
					k++
				}
				from := max(0, want[max(k-3, 0)]-10)
				t.Fatalf("%s: piece %d ends at %v, want %v, in %q", name, k, got[k:min(k+2, len(got))], want[k:min(k+2, len(want))], text[from:min(len(text), want[min(k, len(want)-1)]+40)])
			}
		}
	}
}
