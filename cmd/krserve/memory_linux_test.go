package main

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

// TestPeakMemory: with a context of 2,048 tokens, what is resident is the file, keys and values, and at most 64 MB; also
// when the tokenizer is compiled on the way.
func TestPeakMemory(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	const kv = 2048 * 23400
	st, err := os.Stat(testenv.SmolLM2(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tokenizer := range []string{"new", "compiled"} {
		var got modelBench
		if err := json.Unmarshal([]byte(ok(t, "", "bench", "-model", testenv.SmolLM2(t), "-threads", "2", "-prompt", "1984", "-gen", "64", "-parallel", "",
			"-reps", "1", "-kv-bytes", strconv.Itoa(kv), "-json")), &got); err != nil {
			t.Fatal(err)
		}
		peak, most := got.PeakMB*(1<<20)/1e6, float64(st.Size()+kv)/1e6+64
		if t.Logf("tokenizer %s: %.1f MB of %.1f", tokenizer, peak, most); peak == 0 || peak > most {
			t.Errorf("tokenizer %s: %.1f MB are resident, more than %.1f", tokenizer, peak, most)
		}
	}
}
