package tokenizer

import (
	"maps"
	"math/bits"
	"slices"

	"github.com/krserve/krserve/internal/jinja"
)

// Models of an image.
const (
	imageBPE = iota
	imageUnigram
	imageWordPiece
	imageWordLevel
)

// compilable reports that an image can hold the tokenizer: not SentencePiece's own normaliser, nor merges by a map.
func (t *Tokenizer) compilable() bool {
	return t.made != nil && (t.bpe == nil || t.bpe.user == nil && t.model.(*hfBPE).engine.pairs.wide == nil)
}

// image walks over all parts. Read, it gives a tokenizer equal to the one that was written.
func (t *Tokenizer) image(m *image) {
	if !m.reading {
		s := t.made
		norm, pre, dec := string(s.norm), string(s.pre), string(s.dec)
		m.text(&norm)
		m.text(&pre)
		m.text(&dec)
	} else {
		var norm, pre, dec string
		m.text(&norm)
		m.text(&pre)
		m.text(&dec)
		m.check(!m.bad && t.stage(stages{[]byte(norm), []byte(pre), []byte(dec)}) == nil)
	}
	if m.has(t.post != nil) {
		if t.post == nil {
			t.post = &postProcessor{}
		}
		t.post.image(m)
	}
	t.imageModel(m)
	t.imageAdded(m)
	if m.bad {
		return
	}
	for _, p := range []**addedMatcher{&t.before, &t.after} {
		if !m.has(*p != nil) {
			continue
		}
		if *p == nil {
			*p = &addedMatcher{}
		}
		(*p).image(m, t.addedByID)
	}
	m.u32(&t.special.bos)
	m.u32(&t.special.eos)
	ends := slices.Clone(t.special.ends)
	array(m, &ends)
	t.special.ends = slices.Clone(ends)
	t.imageTemplates(m)
	if m.reading {
		if m.bad {
			return
		}
		t.settle()
	}
	if m.has(t.fast != nil) {
		t.imageFast(m)
	}
	m.check(len(m.in) == 0)
}

func (p *postProcessor) image(m *image) {
	for _, items := range []*[]postItem{&p.single, &p.pair} {
		if !m.has(*items != nil) {
			continue
		}
		n := m.count(len(*items), 8)
		if m.reading {
			*items = make([]postItem, n)
		}
		for i := range *items {
			it := &(*items)[i]
			seq := uint64(it.seq + 1)
			m.u64(&seq)
			m.check(seq <= 2)
			it.seq = int(seq) - 1
			ids := it.ids
			array(m, &ids)
			m.check(it.seq < 0 || len(ids) == 0)
			it.ids = slices.Clone(ids)
			m.u32(&it.typeID)
		}
	}
	n := m.count(len(p.trims), 8)
	if m.reading {
		p.trims = make([]trimOffsets, n)
	}
	for i := range p.trims {
		m.flag(&p.trims[i].prefixSpace)
	}
	m.flag(&p.zeroTypes)
}

func (t *Tokenizer) imageModel(m *image) {
	kind := imageBPE
	switch t.model.(type) {
	case *unigram:
		kind = imageUnigram
	case *wordPiece:
		kind = imageWordPiece
	case *wordLevel:
		kind = imageWordLevel
	}
	m.number(&kind)
	v, _ := t.pieces.(*vocab)
	if m.reading {
		v = &vocab{}
	}
	if v.image(m); m.bad {
		return
	}
	t.pieces = v
	switch kind {
	case imageBPE:
		t.imageBPE(m, v)
	case imageUnigram:
		u, _ := t.model.(*unigram)
		if m.reading {
			u = &unigram{vocab: v, trie: &pieceTrie{}}
			t.model = u
		}
		u.image(m)
	case imageWordPiece:
		w, _ := t.model.(*wordPiece)
		if m.reading {
			w = &wordPiece{vocab: v, first: &pieceTrie{}, rest: &pieceTrie{}}
			t.model = w
		}
		m.u32(&w.unk)
		m.check(int(w.unk) < v.size())
		m.number(&w.maxChars)
		w.first.image(m, v.size())
		w.rest.image(m, v.size())
	case imageWordLevel:
		w, _ := t.model.(*wordLevel)
		if m.reading {
			w = &wordLevel{vocab: v}
			t.model = w
		}
		m.u32(&w.unk)
		m.check(int(w.unk) < v.size())
	default:
		m.bad = true
	}
}

func (v *vocab) image(m *image) {
	array(m, &v.arena)
	array(m, &v.places)
	array(m, &v.slots)
	m.flag(&v.raw)
	ids := slices.Sorted(maps.Keys(v.literal))
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = v.literal[id]
	}
	array(m, &ids)
	m.texts(&texts)
	spelled := slices.Sorted(maps.Keys(v.litID)) // an id, or a text, may have been given twice
	means := make([]uint32, len(spelled))
	for i, s := range spelled {
		means[i] = v.litID[s]
	}
	m.texts(&spelled)
	array(m, &means)
	if !m.reading {
		return
	}
	m.check(len(ids) == len(texts) && len(means) == len(spelled))
	m.pow2(len(v.slots), 2)
	m.check(len(v.places) <= maxVocab)
	m.below(ids, len(v.places))
	if m.bad {
		return
	}
	v.shift = uint(64 - bits.Len(uint(len(v.slots)-1)))
	inside := true
	for _, p := range v.places {
		inside = inside && p&^placeUsed>>16+p&0xffff <= uint64(len(v.arena))
	}
	for _, s := range v.slots {
		if s != 0 {
			v.count++
			inside = inside && uint32(s)-1 < uint32(len(v.places))
		}
	}
	m.check(inside && v.count < len(v.slots))
	if m.bad || len(ids) == 0 {
		return
	}
	v.literal, v.litID = make(map[uint32]string, len(ids)), make(map[string]uint32, len(spelled))
	for i, id := range ids {
		v.literal[id] = texts[i]
	}
	for i, s := range spelled {
		v.litID[s] = means[i]
	}
}

func (t *Tokenizer) imageBPE(m *image, v *vocab) {
	b, pairs := t.bpe, &pairTable{}
	if m.reading {
		b = &bpeText{bpeModel: &bpeModel{vocab: v}}
	} else {
		pairs = t.model.(*hfBPE).engine.pairs
	}
	m.flag(&t.raw)
	m.text(&b.prefix)
	m.text(&b.suffix)
	m.flag(&b.byteLevel)
	fixed(m, b.byteID[:])
	m.flag(&b.ignoreMerges)
	m.flag(&b.spaceMark)
	m.u32(&b.unk)
	m.flag(&b.fuseUnk)
	m.flag(&b.byteFallback)
	pseudo := make([]string, len(b.pseudo))
	for i, s := range b.pseudo {
		pseudo[i] = string(s)
	}
	m.texts(&pseudo)
	array(m, &b.final)
	chars := slices.Sorted(maps.Keys(b.charID))
	ids := make([]uint32, len(chars))
	for i, r := range chars {
		ids[i] = b.charID[r]
	}
	array(m, &chars)
	array(m, &ids)
	if m.reading {
		b.symbols = v.size() + len(pseudo)
		for _, s := range pseudo {
			b.pseudo = append(b.pseudo, []byte(s))
		}
		m.check(len(b.final) == len(pseudo) && len(ids) == len(chars) && (!b.byteLevel || len(pseudo) == 0))
		m.below(b.byteID[:], v.size())
		m.below([]uint32{b.unk}, v.size())
		m.below(b.final, v.size())
		m.below(ids, b.symbols)
		if m.bad {
			return
		}
		if len(chars) > 0 {
			b.charID = make(map[rune]uint32, len(chars))
		}
		for i, r := range chars {
			b.charID[r] = ids[i]
			m.check(ids[i] != noID)
		}
	}
	if pairs.image(m, b.symbols); m.reading && !m.bad {
		t.setMerger(b, mergerOf(b.bpeModel, pairs), t.raw)
	}
}

func (p *pairTable) image(m *image, symbols int) {
	array(m, &p.slots)
	array(m, &p.filter)
	array(m, &p.out)
	array(m, &p.prio)
	if !m.reading {
		return
	}
	m.pow2(len(p.slots), 16)
	m.check(len(p.filter) == len(p.slots)/8 && (p.prio == nil || len(p.prio) == len(p.out)))
	m.below(p.out, symbols)
	m.below(p.prio, len(p.out))
	if m.bad {
		return
	}
	p.size(symbols, bits.Len(uint(len(p.slots)-1)))
	m.check(p.symBit < 32 && bits.Len(uint(len(p.out))) <= int(p.idxBit))
	mask := uint64(1)<<(p.idxBit&63) - 1
	used, most := 0, uint64(0)
	for _, s := range p.slots {
		if s != 0 {
			used++
		}
		most = max(most, s&mask)
	}
	m.check(used < len(p.slots) && most <= uint64(len(p.out)))
	for _, id := range p.out {
		m.bad = m.bad || id == noID
	}
	p.densely()
}

func (u *unigram) image(m *image) {
	array(m, &u.scores)
	m.u32(&u.unk)
	m.f64(&u.unkScore)
	m.flag(&u.byteFallback)
	m.flag(&u.plainUnk)
	fixed(m, u.byteID[:])
	m.below(u.byteID[:], u.vocab.size())
	m.check(int(u.unk) < u.vocab.size() && len(u.scores) <= u.vocab.size())
	u.trie.image(m, len(u.scores))
}

func (t *pieceTrie) image(m *image, ids int) {
	array(m, &t.base)
	array(m, &t.check)
	array(m, &t.id)
	n := len(t.base)
	m.check(n > 0 && len(t.check) == n && len(t.id) == n)
	inside := true
	for _, b := range t.base {
		inside = inside && b >= 0 && int(b) < n-255
	}
	m.check(inside)
	m.below(t.id, ids)
}

func (t *Tokenizer) imageAdded(m *image) {
	contents := slices.Sorted(maps.Keys(t.addedID))
	ids := make([]uint32, len(contents))
	special := make([]uint8, len(contents))
	for i, s := range contents {
		ids[i] = t.addedID[s]
		if t.specials[s] {
			special[i] = 1
		}
	}
	m.texts(&contents)
	array(m, &ids)
	array(m, &special)
	// Of each id the place of its content, how it is looked for, and its text where that is not the content.
	tokens := slices.Sorted(maps.Keys(t.addedByID))
	at := make([]uint32, len(tokens))
	flags := make([]uint8, len(tokens))
	var texts []string
	for i, id := range tokens {
		a := t.addedByID[id]
		k, _ := slices.BinarySearch(contents, a.content)
		at[i] = uint32(k)
		for bit, on := range []bool{a.singleWord, a.lstrip, a.rstrip, a.normalized, a.special, a.text != a.content} {
			if on {
				flags[i] |= 1 << bit
			}
		}
		if a.text != a.content {
			texts = append(texts, a.text)
		}
	}
	array(m, &tokens)
	array(m, &at)
	array(m, &flags)
	m.texts(&texts)
	if !m.reading {
		return
	}
	m.check(len(ids) == len(contents) && len(special) == len(contents) && len(at) == len(tokens) && len(flags) == len(tokens))
	m.below(ids, maxVocab)
	m.below(tokens, maxVocab)
	m.below(at, len(contents))
	if m.bad {
		return
	}
	t.addedID = make(map[string]uint32, len(contents))
	t.specials = make(map[string]bool, len(contents))
	for i, s := range contents {
		m.check(ids[i] != noID)
		t.addedID[s] = ids[i]
		if special[i] != 0 {
			t.specials[s] = true
		}
	}
	t.addedByID = make(map[uint32]addedToken, len(tokens))
	for i, id := range tokens {
		f := flags[i]
		if m.check(id != noID && at[i] != noID && (f&32 == 0 || len(texts) > 0)); m.bad {
			return
		}
		a := addedToken{content: contents[at[i]], id: id, singleWord: f&1 != 0, lstrip: f&2 != 0, rstrip: f&4 != 0, normalized: f&8 != 0,
			special: f&16 != 0}
		if a.text = a.content; f&32 != 0 {
			a.text, texts = texts[0], texts[1:]
		}
		t.addedByID[id] = a
	}
}

func (a *addedMatcher) image(m *image, tokens map[uint32]addedToken) {
	ids := make([]uint32, len(a.tokens))
	for i := range a.tokens {
		ids[i] = a.tokens[i].id
	}
	array(m, &ids)
	array(m, &a.nodes)
	array(m, &a.labels)
	array(m, &a.goes)
	fixed(m, a.root[:])
	fixed(m, a.pairs[:])
	last := make([]uint8, 256)
	for c, is := range a.last {
		if is {
			last[c] = 1
		}
	}
	fixed(m, last)
	only := a.only + 1
	m.number(&only)
	a.only = only - 1
	m.number(&a.maxLen)
	m.flag(&a.single)
	m.flag(&a.white)
	if !m.reading {
		return
	}
	m.check(len(ids) > 0 && len(a.labels) == len(a.goes) && uint(only) <= 256)
	inside := true
	for _, n := range a.nodes {
		inside = inside && uint64(n.first)+uint64(n.n) <= uint64(len(a.labels)) && n.token >= -1 && int(n.token) < len(ids)
	}
	for _, g := range a.goes {
		inside = inside && int(g) < len(a.nodes)
	}
	for _, g := range a.root {
		inside = inside && int(g) < len(a.nodes)
	}
	for c, l := range last {
		a.last[c] = l != 0
	}
	a.tokens = make([]addedToken, len(ids))
	for i, id := range ids {
		t, ok := tokens[id]
		a.tokens[i], inside = t, inside && ok
	}
	m.check(inside)
}

func (t *Tokenizer) imageTemplates(m *image) {
	if !m.has(t.template != nil) {
		return
	}
	var names, sources, vars, values []string
	if !m.reading {
		names = t.template.Names()
		for _, n := range names {
			sources = append(sources, t.template.named[n].source)
		}
		special := t.template.Special()
		for _, n := range slices.Sorted(maps.Keys(special)) {
			vars, values = append(vars, n), append(values, special[n])
		}
	}
	for _, p := range []*[]string{&names, &sources, &vars, &values} {
		m.texts(p)
	}
	if !m.reading {
		return
	}
	if m.check(len(names) == len(sources) && len(vars) == len(values)); m.bad {
		return
	}
	t.template = &Template{special: jinja.NewDict(len(vars)), named: map[string]*namedTemplate{}}
	for i, n := range names {
		t.template.named[n] = &namedTemplate{source: sources[i]}
	}
	for i, n := range vars {
		t.template.special.Set(n, jinja.String(values[i]))
	}
}

// imageFast is the fast path, whose tables take longer to derive than to read.
func (t *Tokenizer) imageFast(m *image) {
	var f fastTables
	if !m.reading {
		if f.chars, f.whole, f.units, f.ready = t.fast.chars, t.fast.whole, t.fast.units, t.fast.ready; t.fast.scan != nil {
			f.adj = t.fast.scan.adj
		}
	}
	if m.has(f.adj != nil) {
		if f.adj == nil {
			f.adj = &adjacency{}
		}
		array(m, &f.adj.pair)
		array(m, &f.adj.left)
		array(m, &f.adj.right)
		m.check(len(f.adj.pair) == 1<<(adjacencyLog-6) && len(f.adj.left) == 1<<10 && len(f.adj.right) == 1<<10)
	}
	if m.has(f.chars != nil) {
		if f.chars == nil {
			f.chars = &wideChars{adj: f.adj}
		}
		array(m, &f.chars.id)
		m.check(f.adj != nil && len(f.chars.id) == 1<<16)
	}
	array(m, &f.whole)
	array(m, &f.ready.tab)
	if m.has(f.units != nil) {
		if f.units == nil {
			f.units = &unitScanner{}
		}
		f.units.image(m)
	}
	if !m.reading {
		return
	}
	if m.check(t.bpe != nil && (f.units != nil) != t.bpe.byteLevel); m.bad {
		return
	}
	if f.chars != nil {
		m.below(f.chars.id, t.bpe.vocab.size())
	}
	m.check(f.whole == nil || len(f.whole) == (t.bpe.symbols+63)/64)
	m.check(f.ready.image(t.bpe.vocab.size()))
	if f.units != nil {
		f.units.m = t.bpe.bpeModel
		m.below(f.units.ascii[:], t.bpe.symbols)
		m.below(f.units.chars.ids, t.bpe.symbols)
		for _, id := range t.bpe.byteID {
			m.check(id != noID)
		}
	}
	if m.bad {
		return
	}
	t.fast = t.newFastPath(&f)
	m.check(t.fast != nil)
}

// image reports that a table that was read has a free entry and ids below n.
func (t *readyTokens) image(n int) bool {
	if len(t.tab) == 0 {
		return true
	}
	free, most := false, uint64(0)
	for i := range t.tab {
		free = free || t.tab[i].k1 == 0
		most = max(most, t.tab[i].k1&readyIDs)
	}
	t.shift = uint(64 - bits.TrailingZeros(uint(len(t.tab))))
	return free && most>>32 < uint64(n) && len(t.tab)&(len(t.tab)-1) == 0
}

func (u *unitScanner) image(m *image) {
	fixed(m, u.ascii[:])
	fixed(m, u.joined[:])
	array(m, &u.pairs)
	array(m, &u.chars.page)
	array(m, &u.chars.ids)
	m.check(len(u.pairs) == 1<<(unitLog-6) && len(u.chars.page) == runePages && len(u.chars.ids) >= 256 && len(u.chars.ids)&255 == 0)
	inside := true
	for _, j := range u.joined {
		inside = inside && j <= 1
	}
	for _, p := range u.chars.page {
		inside = inside && int(p) < len(u.chars.ids)>>8
	}
	m.check(inside && u.ascii[' '] != noID)
}
