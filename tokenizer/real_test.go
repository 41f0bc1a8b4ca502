package tokenizer

import (
	"encoding/json"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

// realModel reads one of the golden tokenizers by way of encoding/json, apart from the package's own reader.
func realModel(tb testing.TB, name string) *bpeModel {
	data, err := os.ReadFile(testenv.Tokenizer(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	var f struct {
		Model struct {
			Vocab        map[string]uint32
			Merges       []json.RawMessage
			IgnoreMerges bool   `json:"ignore_merges"`
			ByteFallback bool   `json:"byte_fallback"`
			FuseUnk      bool   `json:"fuse_unk"`
			Unk          string `json:"unk_token"`
		}
	}
	if err := json.Unmarshal(data, &f); err != nil {
		tb.Fatal(err)
	}
	m := &bpeModel{byteLevel: !f.Model.ByteFallback, ignoreMerges: f.Model.IgnoreMerges, byteFallback: f.Model.ByteFallback, fuseUnk: f.Model.FuseUnk, spaceMark: f.Model.ByteFallback, unk: noID}
	for _, id := range f.Model.Vocab {
		m.symbols = max(m.symbols, int(id)+1)
	}
	v := newVocab(m.symbols, m.byteLevel)
	for s, id := range f.Model.Vocab {
		if err := v.addString(s, id); err != nil {
			tb.Fatal(err)
		}
	}
	if id, ok := f.Model.Vocab[f.Model.Unk]; ok {
		m.unk = id
	}
	m.vocab = v
	for b := range 256 {
		key := string([]byte{byte(b)})
		if !m.byteLevel {
			key = "<0x" + strings.ToUpper(hex2(byte(b))) + ">"
		}
		if id, ok := v.find([]byte(key)); ok {
			m.byteID[b] = id
		} else {
			m.byteID[b] = noID
		}
	}
	for i, raw := range f.Model.Merges {
		var p [2]string
		if raw[0] == '"' {
			var s string
			json.Unmarshal(raw, &s)
			p[0], p[1], _ = strings.Cut(s, " ")
		} else if err := json.Unmarshal(raw, &p); err != nil {
			tb.Fatal(err)
		}
		m.merges = append(m.merges, mergeRule{f.Model.Vocab[p[0]], f.Model.Vocab[p[1]], f.Model.Vocab[p[0]+p[1]], uint32(i)})
	}
	sort.SliceStable(m.merges, func(i, j int) bool { return m.merges[i].rank < m.merges[j].rank })
	return m
}

func hex2(b byte) string { return string("0123456789abcdef"[b>>4]) + string("0123456789abcdef"[b&15]) }
