package abtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// read reads CSV, or JSON lines where the text begins with a brace.
func read(text string, o ReadOptions) (Data, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return ReadJSONL(strings.NewReader(text), o)
	}
	return ReadCSV(strings.NewReader(text), o)
}

// table is a small good file, and hostile variations of it.
const goodCSV = `unit,variant,at,segment.lang,tokens,good:proportion,hits:ratio,hits.den,ttft:p50:lower,base:cuped,base.pre
u1,control,2026-03-01T10:00:00Z,de,10,1,1,2,0.1,5,4
u2,control,,en,12,0,0,3,0.2,6,5
u3,warm,2026-03-01T10:00:01.5+02:00,,14,1,2,2,,7,
u4,warm,,de,,true,1,4,0.4,8,6
u5,control,,de,11,0,1,1,0.15,5,5
u6,warm,,"e ""n""",15,1,0,1,0.3,9,7
`

func TestRoundTrips(t *testing.T) {
	d, err := read("\ufeff"+strings.ReplaceAll(goodCSV, "\n", "\r\n"), ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Rows) != 6 || len(d.Metrics) != 5 || d.Rows[5].Segments["lang"] != `e "n"` || d.Rows[3].Values["good"].Value != 1 || *d.Rows[1].Values["base"].Pre != 5 {
		t.Fatalf("%+v", d)
	}
	if _, ok := d.Rows[2].Values["ttft"]; ok {
		t.Error("an empty cell is a value")
	}
	var c, j strings.Builder
	if err := d.WriteCSV(&c); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteJSONL(&j); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{c.String(), j.String()} {
		back, err := read(text, ReadOptions{})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for i := range back.Metrics {
			back.Metrics[i] = back.Metrics[i].withDefaults()
		}
		want := d
		want.Metrics = nil
		for _, m := range d.Metrics {
			want.Metrics = append(want.Metrics, m.withDefaults())
		}
		for i, r := range back.Rows {
			if !r.At.Equal(d.Rows[i].At) {
				t.Errorf("%v, want %v", r.At, d.Rows[i].At)
			}
			back.Rows[i].At = d.Rows[i].At
		}
		if !reflect.DeepEqual(back, want) {
			t.Errorf("%+v\n%+v\n%s", back, want, text)
		}
	}
}

func TestReadOptions(t *testing.T) {
	text := "id,arm,lang,latency\n1,a,de,1\n2,b,en,2\n1,a,de,3\n3,b,de,5\n4,a,en,7\n"
	o := ReadOptions{Unit: "id", Variant: "arm", Segments: []string{"lang"}, Merge: true, Metrics: []Metric{
		{Name: "p50", Column: "latency", Kind: Quantile, Quantile: 0.5}, {Name: "sum", Column: "latency"}}}
	d, err := read(text, o)
	if err != nil {
		t.Fatal(err)
	}
	if r := d.Rows[0]; len(d.Rows) != 4 || r.Values["p50"].Value != 2 || r.Values["sum"].Value != 4 || r.Segments["lang"] != "de" {
		t.Errorf("%+v", d.Rows)
	}
	o.Merge = false
	if _, err := read(text, o); !errors.Is(err, ErrDuplicate) || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "line 4") {
		t.Error(err)
	}
}

// TestHostile: every bad file has an error with a name, that says where.
func TestHostile(t *testing.T) {
	head := "unit,variant,m\n"
	for _, c := range []struct {
		name, text string
		want       error
		says       string
	}{
		{"empty", "", ErrEmpty, ""},
		{"white space", " \n\n", ErrInput, "line 1"},
		{"head alone", head, ErrEmpty, ""},
		{"one row", head + "u,a,1\n", ErrTooFew, `"a"`},
		{"one per arm", head + "u,a,1\nv,b,2\n", ErrTooFew, "1 in the control"},
		{"one variant", head + "u,a,1\nv,a,2\n", ErrTooFew, "alone"},
		{"NaN", head + "u,a,1\nv,b,NaN\n", ErrValue, "line 3"},
		{"infinite", head + "u,a,-Inf\n", ErrValue, `column "m"`},
		{"beyond float64", head + "u,a,1e999\n", ErrValue, "1e999"},
		{"text", head + "u,a,fast\n", ErrValue, "fast"},
		{"huge", head + "u,a,1e300\nv,a,-1e300\nw,b,1e300\nx,b,3\n", ErrValue, "overflow"},
		{"tiny", head + "u,a,1e-300\nv,a,-1e-300\nw,b,1e-300\nx,b,3\n", ErrValue, "underflow"},
		{"huge apart", head + "u,a,-1.7e308\nv,a,-1.7e308\nw,b,1.7e308\nx,b,1.7e308\n", ErrValue, "overflows"},
		{"duplicate", head + "u,a,1\nv,b,2\nu,a,3\n", ErrDuplicate, "line 4"},
		{"in both", head + "u,a,1\nv,b,2\nu,b,3\n", ErrDuplicate, `"a"`},
		{"no unit", head + ",a,1\n", ErrFormat, "line 2"},
		{"no variant", head + "u,,1\n", ErrVariant, "line 2"},
		{"ragged", head + "u,a,1,2\n", ErrFormat, "line 2"},
		{"quote", head + "\"u,a,1\n", ErrFormat, "line"},
		{"no column", "unit,m\nu,1\n", ErrFormat, `"variant"`},
		{"no metric", "unit,variant\nu,a\n", ErrFormat, "metric"},
		{"twice", "unit,variant,m,m\n", ErrFormat, `"m"`},
		{"kind", "unit,variant,m:median\n", ErrInput, "median"},
		{"no denominator", "unit,variant,m:ratio\n", ErrFormat, "m.den"},
		{"half a ratio", "unit,variant,m:ratio,m.den\nu,a,1,\n", ErrValue, "m.den"},
		{"all denominators 0", "unit,variant,m:ratio,m.den\nu,a,1,0\nv,a,1,0\nw,b,1,0\nx,b,2,0\n", nil, ""},
		{"no covariate", "unit,variant,m:cuped\n", ErrFormat, "m.pre"},
		{"no proportion", "unit,variant,m:proportion\nu,a,0.5\n", ErrValue, "0.5"},
		{"time", "unit,variant,at,m\nu,a,yesterday,1\n", ErrFormat, "yesterday"},
		{"no value", head + "u,a,\nv,a,\nw,b,\nx,b,\n", ErrFormat, `"m"`},
		{"values on one side", head + "u,a,1\nv,a,2\nw,b,\nx,b,\n", nil, ""},
		{"JSON", "{\"unit\":\"u\",", ErrFormat, "line 1"},
		{"JSON NaN", `{"unit":"u","variant":"a","metrics":{"m":NaN}}`, ErrFormat, "line 1"},
		{"JSON 1e999", `{"unit":"u","variant":"a","metrics":{"m":1e999}}`, ErrFormat, "line 1"},
		{"JSON text", `{"unit":"u","variant":"a","metrics":{"m":"1"}}`, ErrFormat, "line 1"},
		{"JSON counts", `{"unit":"u","variant":"a","metrics":{"m":{"value":1,"n":-4}}}`, ErrValue, "-4"},
		{"JSON variant", `{"experiment":{"name":"x","variants":[{"name":"a"},{"name":"b"}]}}` + "\n" + `{"unit":"u","variant":"c","metrics":{"m":1}}`, ErrVariant, `"c"`},
		{"JSON experiment", `{"experiment":{"name":"x","variants":[{"name":"a"},{"name":"a"}]}}`, ErrInput, "twice"},
		{"JSON rows without metrics", `{"unit":"u","variant":"a"}`, ErrFormat, "metric"},
		{"JSON null", "{\"unit\":\"u\",\"variant\":\"a\",\"metrics\":{\"m\":1}}\nnull\n", ErrFormat, "line 2"},
	} {
		d, err := read(c.text, ReadOptions{})
		for _, m := range []Method{Sequential, FixedHorizon} {
			if err == nil {
				_, err = Analyze(d, Options{Method: m})
			}
		}
		if c.want == nil && err != nil || c.want != nil && (!errors.Is(err, c.want) || !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestOptionsValidate(t *testing.T) {
	d := counts(1, 3, 2, 3)
	nan := 0.0
	nan /= nan
	for field, o := range map[string]Options{
		"Method": {Method: "x"}, "Correction": {Correction: "x"}, "Alpha": {Alpha: nan}, "Alpha is 1": {Alpha: 1}, "Planned": {Planned: -1}, "Looks": {Looks: -1},
		"Tuned": {Tuned: nan}, "Segments": {Segments: []string{"a", "a"}}, "Prior": {Prior: &Prior{}}, "no unit has a value": {Segments: []string{"a"}},
	} {
		if _, err := Analyze(d, o); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// FuzzRead: no file panics; what is read and analysed at all can be written and read again with the same report.
func FuzzRead(f *testing.F) {
	f.Add(goodCSV)
	f.Add("unit,variant,m\nu,a,1e300\nv,b,-1e300\n")
	f.Add(`{"experiment":{"name":"x","variants":[{"name":"a"},{"name":"b","weight":2}]},"metrics":[{"name":"m","kind":"quantile","quantile":0.5}],"looks":2}` +
		"\n" + `{"unit":"u","variant":"a","metrics":{"m":1}}` + "\n" + `{"unit":"v","variant":"b","metrics":{"m":{"value":2,"pre":1e308,"den":3,"n":2}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := read(text, ReadOptions{})
		if err != nil {
			if !errors.Is(err, ErrInput) {
				t.Fatalf("%v", err)
			}
			return
		}
		report := func(d Data) string {
			out := ""
			for _, o := range []Options{{}, {Method: FixedHorizon, Correction: BenjaminiHochberg}} {
				r, err := Analyze(d, o)
				if err != nil && !errors.Is(err, ErrInput) {
					t.Fatal(err)
				}
				text, bad := json.Marshal(r)
				if bad != nil {
					t.Fatal(bad)
				}
				out += fmt.Sprintf("%s %v\n", text, err)
			}
			return out
		}
		var j strings.Builder
		if err := d.WriteJSONL(&j); err != nil {
			return // what JSON cannot hold, such as a year beyond 9999
		}
		back, err := ReadJSONL(strings.NewReader(j.String()), ReadOptions{})
		if err != nil {
			t.Fatalf("%v\n%s", err, j.String())
		}
		if len(back.Rows) != len(d.Rows) {
			t.Fatalf("%d rows of %d", len(back.Rows), len(d.Rows))
		}
		if len(d.Rows) < 500 && report(d) != report(back) {
			t.Fatalf("another report after a round trip\n%s", j.String())
		}
	})
}
