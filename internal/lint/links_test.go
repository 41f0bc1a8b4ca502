package lint

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/krserve/krserve/internal/testenv"
)

var (
	inlineLink = regexp.MustCompile(`\]\(([^()\s]+)(?:\s+"[^"]*")?\)`)
	refLink    = regexp.MustCompile(`(?m)^\[[^\]]+\]:\s+(\S+)`)
	heading    = regexp.MustCompile(`(?m)^#{1,6}\s+(.*?)\s*#*$`)
	fence      = regexp.MustCompile("(?ms)^[ \t]*(```|~~~).*?^[ \t]*(```|~~~)[ \t]*$")
	codeSpan   = regexp.MustCompile("`[^`\n]*`")
)

// TestLinks follows every relative link of every Markdown file, and its #fragment to a heading.
func TestLinks(t *testing.T) {
	for _, s := range sources(t) {
		if extOf(s.path) != ".md" {
			continue
		}
		text := codeSpan.ReplaceAllString(fence.ReplaceAllString(string(s.data), ""), "")
		links := append(inlineLink.FindAllStringSubmatch(text, -1), refLink.FindAllStringSubmatch(text, -1)...)
		for _, m := range links {
			target := m[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, fragment, _ := strings.Cut(target, "#")
			rel := s.path
			if file != "" {
				rel = path.Join(path.Dir(s.path), file)
			}
			full := filepath.Join(testenv.Root(), filepath.FromSlash(rel))
			if _, err := os.Stat(full); err != nil {
				t.Errorf("%s: dead link %s; mend: point it at a file that exists, relative to %s", s.path, target, path.Dir(s.path))
				continue
			}
			if fragment == "" || extOf(rel) != ".md" {
				continue
			}
			data, err := os.ReadFile(full)
			if err != nil {
				t.Fatal(err)
			}
			if !anchors(string(data))[fragment] {
				t.Errorf("%s: link %s names no heading of %s; mend: use the heading's words in lower case, joined by hyphens", s.path, target, rel)
			}
		}
	}
}

// anchors lists the fragments of a page as GitHub makes them from its headings.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])
		out[slug] = true
	}
	return out
}

func TestAnchors(t *testing.T) {
	got := anchors("# Why `x`, not y?\n```\n# no\n```\n## A-b c\n")
	if !got["why-x-not-y"] || !got["a-b-c"] || got["no"] || len(got) != 2 {
		t.Errorf("anchors = %v", got)
	}
}
