package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

// A layer is a package with everything below it. Among a folder's layers the longest match decides.
type layer struct {
	dir    string
	may    []string // what it may import: folders of this module, or a group of groups
	cgo    bool     // may say import "C"
	unsafe bool     // may import unsafe
}

// groups name sets of layers, lowest first.
var groups = map[string][]string{
	"L0": {"internal/quant", "internal/graph", "internal/jinja", "internal/mem", "internal/stats", "internal/impl", "internal/invariants", "metal"},
	"L1": {"internal/gguf", "internal/safetensors", "internal/hub", "internal/sample", "internal/grammar", "internal/backend",
		"internal/backend/reference", "internal/backend/cpu", "internal/backend/gpu", "internal/cuda", "internal/gpuemu"},
	"L2": {"tokenizer", "kvcache"},
	"L3": {"internal/model", "internal/sched"},
}

// layers is the import table. Packages of one level do not import each other, except where a row says so.
var layers = []layer{
	// L0: data and memory.
	{dir: "internal/quant", unsafe: true},
	{dir: "internal/graph", may: []string{"internal/quant"}},
	{dir: "internal/jinja"},
	{dir: "internal/mem", cgo: true, unsafe: true},
	{dir: "internal/stats"},
	{dir: "internal/impl"},
	{dir: "internal/invariants"},
	{dir: "metal", may: []string{"internal/mem"}, cgo: true, unsafe: true},

	// L1: files in, samplers, executors. Siblings meet only in the interface of internal/backend.
	{dir: "internal/gguf", may: []string{"L0"}, unsafe: true},
	{dir: "internal/safetensors", may: []string{"L0"}, unsafe: true},
	{dir: "internal/hub", may: []string{"L0"}},
	{dir: "internal/sample", may: []string{"L0"}},
	{dir: "internal/grammar", may: []string{"L0"}},
	{dir: "internal/backend", may: []string{"L0"}},
	{dir: "internal/backend/backendtest", may: []string{"L0", "internal/backend", "internal/testenv"}},
	{dir: "internal/backend/reference", may: []string{"L0", "internal/backend"}, unsafe: true},
	{dir: "internal/backend/cpu", may: []string{"L0", "internal/backend"}, cgo: true, unsafe: true},
	{dir: "internal/backend/gpu", may: []string{"L0", "internal/backend"}, cgo: true, unsafe: true},
	{dir: "internal/cuda", may: []string{"L0", "internal/backend"}, cgo: true, unsafe: true},
	{dir: "internal/gpuemu", may: []string{"L0", "internal/backend"}, cgo: true, unsafe: true},
	{dir: "internal/fakemetal", may: []string{"L0", "internal/backend", "internal/gpuemu"}, cgo: true, unsafe: true},

	// L2: text and ids; the pool.
	{dir: "tokenizer", may: []string{"L0", "internal/gguf"}, unsafe: true},
	{dir: "kvcache", may: []string{"L0"}},
	{dir: "kvcache/redisstore", may: []string{"kvcache"}}, // in no group: only who wants Redis imports its client

	// L3: models and their steps.
	{dir: "internal/model", may: []string{"L0", "L1"}},
	{dir: "internal/model/modelgen", may: []string{"L0", "L1", "internal/backend/backendtest"}},
	{dir: "internal/sched", may: []string{"L0", "L1", "kvcache"}},

	// L4: what a user types.
	{dir: ".", may: []string{"L0", "L1", "L2", "L3"}},

	// Side: statistics for whoever has two of anything. They take funcs and small interfaces, never an Engine.
	{dir: "canary", may: []string{"internal/stats"}},
	{dir: "abtest", may: []string{"internal/stats"}},
	{dir: "regress", may: []string{"internal/stats"}},
	{dir: "internal/simulate", may: []string{"internal/stats", "canary"}},

	// L5: programs.
	{dir: "internal/server", may: []string{"*"}},
	{dir: "cmd", may: []string{"*"}},
	{dir: "cmd/libkrserve", may: []string{"*"}, cgo: true, unsafe: true},
	{dir: "examples", may: []string{".", "L2", "metal", "canary", "abtest", "regress"}},
	{dir: "bindings", may: []string{".", "L2"}},

	// Tests only.
	{dir: "internal/testenv"},
	{dir: "internal/testmodel", may: []string{"L0", "L1"}},
	{dir: "internal/lint", may: []string{"internal/testenv"}},
}

// dependencies are the modules that may be required directly, where, and why. "." is the root package alone.
var dependencies = map[string]struct {
	dirs []string
	why  string
}{
	"github.com/klauspost/cpuid/v2":   {[]string{"internal/backend", "internal/mem", "internal/impl", "tokenizer", "cmd"}, "which instructions a CPU has, kept current by others"},
	"golang.org/x/sys":                {[]string{"internal/mem", "internal/hub", "internal/backend", "cmd"}, "system calls that std lacks: mmap flags, affinity, file locks"},
	"golang.org/x/sync":               {[]string{"tokenizer"}, "errgroup: a batch on several goroutines, ended by the first error"},
	"golang.org/x/term":               {[]string{"cmd"}, "terminals: width and raw mode"},
	"golang.org/x/text":               {[]string{"tokenizer", "internal/jinja"}, "Unicode normalization forms"},
	"google.golang.org/protobuf":      {[]string{"tokenizer"}, "protowire: SentencePiece models are protocol buffers"},
	"gonum.org/v1/gonum":              {[]string{"internal/stats"}, "distributions of the delivery statistics"},
	"gonum.org/v1/plot":               {[]string{"regress"}, "plots of the reports, as SVG in pure Go"},
	"golang.org/x/perf":               {[]string{"regress"}, "Go's benchmark format, read as benchstat does"},
	"gopkg.in/yaml.v3":                {[]string{"cmd", "internal/server"}, "runtime.yaml"},
	"github.com/goccy/go-yaml":        {[]string{"cmd", "internal/server"}, "runtime.yaml"},
	"github.com/mmcloughlin/avo":      {[]string{"tokenizer/gen"}, "writes Go assembly; a module of its own, so nothing built needs it"},
	"github.com/rivo/uniseg":          {[]string{"tokenizer"}, "grapheme clusters, by which SentencePiece's compiled normalisers are applied"},
	"github.com/gomlx/go-huggingface": {[]string{"internal/hub"}, "Hugging Face hub protocol and cache layout"},
	"github.com/gofrs/flock":          {[]string{"internal/hub", "canary", "kvcache"}, "file locks on every OS"},
	"github.com/redis/go-redis/v9":    {[]string{"kvcache/redisstore"}, "Redis and Valkey: protocol, pooling, TLS, cluster"},
	"github.com/google/go-cmp":        {nil, "readable differences; tests only"},
}

func layerOf(dir string) *layer {
	var best *layer
	for i := range layers {
		l := &layers[i]
		if dir == l.dir || l.dir != "." && strings.HasPrefix(dir, l.dir+"/") {
			if best == nil || len(l.dir) > len(best.dir) {
				best = l
			}
		}
	}
	return best
}

// allows reports whether from may import the package in folder to.
func allows(from *layer, to string) bool {
	target := layerOf(to)
	if target == nil {
		return false
	}
	if target == from || slices.Contains(from.may, "*") {
		return true
	}
	for _, m := range from.may {
		if m == target.dir || slices.Contains(groups[m], target.dir) {
			return true
		}
	}
	return false
}

const mendLayer = "mend: move the code to a package that may (house table in internal/lint/layers_test.go), pass a func or small interface down instead, or argue for a changed row"

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		checkImports(s, t.Errorf)
	}
}

func checkImports(s *source, report report) {
	if !s.isGo() {
		return
	}
	l := layerOf(s.dir())
	if l == nil {
		report("%s: package folder %q has no row in the import table; mend: add one row to layers in internal/lint/layers_test.go", s.path, s.dir())
		return
	}
	for _, spec := range s.file.Imports {
		p := strings.Trim(spec.Path.Value, "\"`")
		at := s.path + ":" + strconv.Itoa(s.line(spec.Pos()))
		switch {
		case p == "C":
			if !l.cgo {
				report("%s: import \"C\" is not for %s; mend: put cgo behind internal/backend/cpu, internal/mem, metal or cmd/libkrserve", at, l.dir)
			}
		case p == "unsafe":
			if !l.unsafe && !s.test() {
				report("%s: unsafe is not for %s; mend: use encoding/binary or a function of internal/mem, or set unsafe in its row with a reason", at, l.dir)
			}
		case p == module || strings.HasPrefix(p, module+"/"):
			to := strings.TrimPrefix(strings.TrimPrefix(p, module), "/")
			if to == "" {
				to = "."
			}
			if s.test() { // tests may look anywhere
				continue
			}
			if !allows(l, to) {
				report("%s: %s may not import %s; %s", at, l.dir, to, mendLayer)
			}
		case strings.Contains(strings.SplitN(p, "/", 2)[0], "."):
			if !external(p, s) {
				report("%s: %s is not a kept dependency of %s; mend: use std, or add it to dependencies in internal/lint/layers_test.go with the reason", at, p, l.dir)
			}
		}
	}
}

func external(p string, s *source) bool {
	for mod, d := range dependencies {
		if p == mod || strings.HasPrefix(p, mod+"/") {
			if s.test() {
				return true
			}
			for _, dir := range d.dirs {
				if s.in(dir) || dir == "." && s.dir() == "." {
					return true
				}
			}
		}
	}
	return false
}

// TestTable keeps the table itself honest: groups and rows name each other, and no row forbids what it must allow.
func TestTable(t *testing.T) {
	for g, dirs := range groups {
		for _, d := range dirs {
			if l := layerOf(d); l == nil || l.dir != d {
				t.Errorf("group %s names %s, which has no row of its own", g, d)
			}
		}
	}
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"internal/graph", "internal/quant", true}, {"internal/quant", "internal/graph", false},
		{"internal/backend/cpu", "internal/backend", true}, {"internal/backend/cpu", "internal/backend/reference", false},
		{"tokenizer", "internal/gguf", true}, {"tokenizer", "kvcache", false}, {"kvcache", "tokenizer", false},
		{"internal/model", "tokenizer", false}, {".", "internal/sched", true}, {"internal/sched", ".", false},
		{"canary", ".", false}, {"canary", "internal/stats", true}, {"examples/go", "internal/model", false},
		{"cmd/krserve", "internal/model", true}, {".", "kvcache/redisstore", false}, {"internal/model", "internal/nowhere", false},
	} {
		if got := allows(layerOf(c.from), c.to); got != c.want {
			t.Errorf("%s importing %s: allowed %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

var requireLine = regexp.MustCompile(`(?m)^\s*(?:require\s+)?([a-z0-9.-]+\.[a-z]+/\S+)\s+v\S+$`)

func TestDependenciesHaveReasons(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testenv.Root(), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range requireLine.FindAllStringSubmatch(string(data), -1) {
		if _, ok := dependencies[m[1]]; !ok {
			t.Errorf("go.mod requires %s without a reason; mend: add it to dependencies in internal/lint/layers_test.go, or drop it", m[1])
		}
	}
}
