package tokenizer

import (
	"bytes"
	"fmt"
	"sort"
	"unicode/utf8"
)

// addedToken is a token that is found in the text before the model sees it.
type addedToken struct {
	content    string
	text       string // what it decodes to: its normalised form where it is matched after normalisation
	id         uint32
	singleWord bool // only between characters that are no word characters
	lstrip     bool // takes the white space before it
	rstrip     bool // takes the white space behind it
	normalized bool // is looked for in the normalised text
	special    bool
}

// matcher finds the longest token at a position by a trie over bytes.
type addedMatcher struct {
	nodes  []trieNode
	labels []byte
	goes   []uint32
	root   [256]uint32 // 0 = no token starts so
	only   int         // the one first byte of all tokens, -1 if there are several
	tokens []addedToken
	maxLen int          // of the longest token
	single bool         // a token asks for single words
	pairs  [1024]uint64 // bytes that stand side by side in a token
	last   [256]bool    // bytes that tokens end with
	white  bool         // a token takes white space beside it
}

type trieNode struct {
	first, n uint32 // edges
	token    int32  // index of the token that ends here, -1 = none
}

func newAddedMatcher(tokens []addedToken, key func(*addedToken) string) *addedMatcher {
	m := &addedMatcher{only: -1}
	for _, t := range tokens {
		if key(&t) != "" {
			m.tokens = append(m.tokens, t)
		}
	}
	if len(m.tokens) == 0 {
		return nil
	}
	sort.SliceStable(m.tokens, func(i, j int) bool { return key(&m.tokens[i]) < key(&m.tokens[j]) })
	keys := make([]string, len(m.tokens))
	for i := range m.tokens {
		keys[i] = key(&m.tokens[i])
	}
	for i, k := range keys {
		m.maxLen = max(m.maxLen, len(k))
		m.single = m.single || m.tokens[i].singleWord
		m.white = m.white || m.tokens[i].lstrip || m.tokens[i].rstrip
		m.last[k[len(k)-1]] = true
		for j := 1; j < len(k); j++ {
			m.pairs[int(k[j-1])<<2|int(k[j])>>6] |= 1 << (k[j] & 63)
		}
	}
	m.build(keys, 0, len(keys), 0)
	n := 0
	for c, g := range m.root {
		if g != 0 {
			n++
			m.only = c
		}
	}
	if n != 1 {
		m.only = -1
	}
	return m
}

// build makes the node of keys[lo:hi], which share depth bytes.
func (m *addedMatcher) build(keys []string, lo, hi, depth int) uint32 {
	at := uint32(len(m.nodes))
	m.nodes = append(m.nodes, trieNode{token: -1})
	for lo < hi && len(keys[lo]) == depth {
		m.nodes[at].token = int32(lo) // of equal keys the last one counts
		lo++
	}
	type edge struct{ lo, hi int }
	var edges []edge
	for i := lo; i < hi; {
		j := i + 1
		for j < hi && keys[j][depth] == keys[i][depth] {
			j++
		}
		edges = append(edges, edge{i, j})
		i = j
	}
	first := len(m.labels)
	for _, e := range edges {
		m.labels = append(m.labels, keys[e.lo][depth])
		m.goes = append(m.goes, 0)
	}
	m.nodes[at].first, m.nodes[at].n = uint32(first), uint32(len(edges))
	for i, e := range edges {
		to := m.build(keys, e.lo, e.hi, depth+1)
		m.goes[first+i] = to
		if depth == 0 {
			m.root[m.labels[first+i]] = to
		}
	}
	return at
}

// beside reports that an occurrence of a token, or the white space that it takes, may hold x and y side by side, or end
// between them and take what follows.
func (m *addedMatcher) beside(x, y byte) bool {
	if m.white && (x <= ' ' || x >= 0x80 || y <= ' ' || y >= 0x80) {
		return true
	}
	return m.pairs[int(x)<<2|int(y)>>6]>>(y&63)&1 != 0
}

// next finds the leftmost longest token from position from on.
func (m *addedMatcher) next(text []byte, from int) (tok *addedToken, start, end int) {
	for i := from; i < len(text); i++ {
		if m.only >= 0 {
			k := bytes.IndexByte(text[i:], byte(m.only))
			if k < 0 {
				return nil, 0, 0
			}
			i += k
		} else {
			for i+8 <= len(text) {
				b := text[i : i+8 : i+8]
				if m.root[b[0]]|m.root[b[1]]|m.root[b[2]]|m.root[b[3]]|m.root[b[4]]|m.root[b[5]]|m.root[b[6]]|m.root[b[7]] != 0 {
					break
				}
				i += 8
			}
			for i < len(text) && m.root[text[i]] == 0 {
				i++
			}
			if i == len(text) {
				return nil, 0, 0
			}
		}
		if t, n := m.longest(text[i:]); t != nil {
			return t, i, i + n
		}
	}
	return nil, 0, 0
}

func (m *addedMatcher) longest(text []byte) (tok *addedToken, length int) {
	at := m.root[text[0]]
	if at == 0 {
		return nil, 0
	}
	best := int32(-1)
	for i := 1; ; i++ {
		n := &m.nodes[at]
		if n.token >= 0 {
			best, length = n.token, i
		}
		if i == len(text) {
			break
		}
		k := bytes.IndexByte(m.labels[n.first:n.first+n.n], text[i])
		if k < 0 {
			break
		}
		at = m.goes[int(n.first)+k]
	}
	if best < 0 {
		return nil, 0
	}
	return &m.tokens[best], length
}

// SpecialTokenError says that a text holds a special token although Options.Special is Refuse.
type SpecialTokenError struct {
	Token  string
	Offset int // in bytes
}

func (e *SpecialTokenError) Error() string {
	return fmt.Sprintf("tokenizer: text holds the special token %q at byte %d", e.Token, e.Offset)
}

// specialMode says which tokens a search passes over.
type searchOptions struct {
	mode  SpecialMode
	plain []Span // stretches of the original in which special tokens are text
}

// searchModes has the options without plain stretches, for every mode.
var searchModes = [...]searchOptions{Recognise: {mode: Recognise}, Refuse: {mode: Refuse}, AsText: {mode: AsText}}

func (o *searchOptions) inPlain(lo, hi int) bool {
	i := sort.Search(len(o.plain), func(i int) bool { return o.plain[i].End > lo })
	return i < len(o.plain) && o.plain[i].Start < hi
}

// split cuts n at the tokens that it finds. text and tok are called in order until one returns false.
func (m *addedMatcher) split(n *nstring, o *searchOptions, text func(i, j int) bool, tok func(t *addedToken, i, j int) bool) error {
	if m == nil {
		text(0, len(n.text))
		return nil
	}
	from := 0
	for at := 0; ; {
		t, i, j := m.next(n.text, at)
		if t == nil {
			break
		}
		at = j
		if t.special && o.mode != Recognise {
			if o.mode == Refuse {
				lo, _ := n.original(i, j)
				return &SpecialTokenError{t.content, lo}
			}
			continue
		}
		if t.special && len(o.plain) > 0 {
			if lo, hi := n.original(i, j); o.inPlain(lo, hi) {
				at = i + 1 // another token may begin inside
				continue
			}
		}
		if t.singleWord && (endsWithWord(n.text[:i]) || startsWithWord(n.text[j:])) {
			continue
		}
		if t.lstrip {
			for i > from {
				r, k := utf8.DecodeLastRune(n.text[from:i])
				if !uni().has(r, ufRegexSpace) {
					break
				}
				i -= k
			}
			i = max(i, from) // the token before may have taken the white space and this token with it
		}
		if t.rstrip {
			for j < len(n.text) {
				r, k := utf8.DecodeRune(n.text[j:])
				if !uni().has(r, ufRegexSpace) {
					break
				}
				j += k
			}
		}
		if from < i && !text(from, i) || i < j && !tok(t, i, j) {
			return nil
		}
		from = j
		// The reference's search goes on behind the bare token: a token in the stripped white space is found once more.
	}
	if from < len(n.text) {
		text(from, len(n.text))
	}
	return nil
}

func endsWithWord(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	r, _ := utf8.DecodeLastRune(b)
	return uni().has(r, ufRegexWord)
}

func startsWithWord(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	r, _ := utf8.DecodeRune(b)
	return uni().has(r, ufRegexWord)
}

// loadAdded reads the added_tokens of a tokenizer.json.
func (t *Tokenizer) loadAdded(data []byte, part []byte, at int) error {
	if part == nil || string(part) == "null" {
		return nil
	}
	s := &jsonScan{b: data, p: at}
	next := uint32(t.pieces.used()) // the reference gives tokens that the model lacks new ids, whatever the file says
	return s.array(func() error {
		a := addedToken{id: noID, normalized: true}
		start := s.p
		err := s.object(func(key string) error {
			if key == "id" {
				id, err := s.uint()
				a.id = id
				return err
			}
			if key == "content" {
				b, err := s.str(nil)
				a.content = string(b)
				return err
			}
			v, err := s.skip()
			yes := string(v) == "true"
			switch key {
			case "single_word":
				a.singleWord = yes
			case "lstrip":
				a.lstrip = yes
			case "rstrip":
				a.rstrip = yes
			case "normalized":
				a.normalized = yes
			case "special":
				a.special = yes
			}
			return err
		})
		if err != nil {
			return err
		}
		if a.id == noID || a.id >= maxVocab {
			return fmt.Errorf("%w: JSON offset %d: added token %q has no usable id", ErrFormat, start, a.content)
		}
		if _, ok := t.TokenID(a.content); !ok && a.content != "" {
			a.id = next
			next++
		}
		t.addToken(a)
		return nil
	})
}

// addToken registers a token as the reference does: the model's id of the same piece wins, later ones replace earlier ones.
func (t *Tokenizer) addToken(a addedToken) {
	if a.content == "" {
		return
	}
	if id, ok := t.addedID[a.content]; ok {
		a.id = id
	} else if id, ok := t.pieces.tokenID(a.content); ok {
		a.id = id
	}
	a.text = a.content
	if a.normalized && t.norm != nil {
		n := nstring{text: []byte(a.content)}
		t.norm.normalize(&n)
		a.text = string(n.text)
	}
	t.addedID[a.content] = a.id
	t.addedByID[a.id] = a
	if a.special {
		t.specials[a.content] = true
	}
}
