package examples

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme: code in the README stands word for word in an example, which other tests run; links lead to files.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(data)
	var sources strings.Builder
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		sources.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	languages := map[string]bool{}
	for _, m := range regexp.MustCompile("(?s)```(go|python|c)\n(.*?)```").FindAllStringSubmatch(readme, -1) {
		languages[m[1]] = true
		if !strings.Contains(sources.String(), m[2]) {
			t.Errorf("no example has this code:\n%s", m[2])
		}
	}
	if len(languages) != 3 {
		t.Errorf("examples in %v, want Go, Python and C", languages)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(readme, -1) {
		if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
			t.Errorf("a link leads nowhere: %v", err)
		}
	}
}
