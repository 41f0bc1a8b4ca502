package tokenizer

import (
	"unicode/utf8"
)

// A regex is a pattern compiled for a backtracking matcher that remembers every failed (instruction, position): matching from any
// state has one outcome, whatever led to it, so no state is tried twice and all matches of a text take time linear in its length
// (Norvig's and Cox's memoisation of backtracking; see also RE2's BitState).
type regex struct {
	prog  []reInst
	memo  int      // number of instructions that are remembered
	first *runeSet // characters that a match can start with; nil = any, or the empty match
}

type reOp uint8

const (
	opSet    reOp = iota // consume one character of set
	opSplit              // try x, then y
	opJump               // go to x
	opRun                // greedy run of set, then x, giving characters back
	opRunAll             // possessive run of set, then x
	opMatch
	opAtomic // match the sub-program at pc+1 once, then x
	opLook   // look ahead with the sub-program at pc+1, then x
	opAssert
)

type reInst struct {
	op     reOp
	negate bool
	assert byte
	set    *runeSet
	x, y   int32
	memo   int32 // number among the remembered instructions, -1 = none
}

// maxRegexProgram bounds the size of a compiled pattern.
const maxRegexProgram = 20000

func compileRegex(pattern string) (*regex, error) {
	p := &reParser{src: pattern}
	if !utf8.ValidString(pattern) {
		return nil, p.fail("invalid UTF-8")
	}
	n, err := p.alt()
	if err != nil {
		return nil, err
	}
	if p.more() {
		return nil, p.fail("an unmatched )")
	}
	c := &reCompiler{p: p}
	if err := c.emit(n); err != nil {
		return nil, err
	}
	c.add(reInst{op: opMatch})
	re := &regex{prog: c.prog}
	for i := range re.prog {
		in := &re.prog[i]
		in.memo = -1
		if in.op != opMatch {
			in.memo = int32(re.memo)
			re.memo++
		}
		if in.set != nil {
			in.set.compile()
		}
	}
	re.first = c.firstSet(n)
	if re.first != nil {
		re.first.compile()
	}
	return re, nil
}

// literalRegex matches a text literally.
func literalRegex(text string) *regex {
	re := &regex{}
	for _, r := range text {
		s := newRuneSet()
		s.add(r)
		s.compile()
		if re.first == nil {
			re.first = s
		}
		re.prog = append(re.prog, reInst{op: opSet, set: s, memo: -1})
	}
	re.prog = append(re.prog, reInst{op: opMatch, memo: -1})
	return re
}

type reCompiler struct {
	p    *reParser
	prog []reInst
}

func (c *reCompiler) add(i reInst) int32 {
	c.prog = append(c.prog, i)
	return int32(len(c.prog) - 1)
}

func (c *reCompiler) here() int32 { return int32(len(c.prog)) }

func (c *reCompiler) emit(n *reNode) error {
	if len(c.prog) > maxRegexProgram {
		return c.p.fail("a pattern this large")
	}
	switch n.kind {
	case reSet:
		c.add(reInst{op: opSet, set: n.set})
	case reCat:
		for _, s := range n.subs {
			if err := c.emit(s); err != nil {
				return err
			}
		}
	case reAlt:
		var jumps []int32
		for i, s := range n.subs {
			if i == len(n.subs)-1 {
				if err := c.emit(s); err != nil {
					return err
				}
				break
			}
			split := c.add(reInst{op: opSplit})
			c.prog[split].x = c.here()
			if err := c.emit(s); err != nil {
				return err
			}
			jumps = append(jumps, c.add(reInst{op: opJump}))
			c.prog[split].y = c.here()
		}
		for _, j := range jumps {
			c.prog[j].x = c.here()
		}
	case reRepeat:
		return c.repeat(n)
	case reAtomic:
		if r := n.subs[0]; r.kind == reRepeat && r.max < 0 && r.subs[0].kind == reSet && !r.lazy {
			for range r.min {
				c.add(reInst{op: opSet, set: r.subs[0].set})
			}
			i := c.add(reInst{op: opRunAll, set: r.subs[0].set})
			c.prog[i].x = c.here()
			return nil
		}
		if c.unbounded(n.subs[0]) { // would be tried anew from every start
			return c.p.fail("an atomic group of unbounded length")
		}
		return c.sub(n, opAtomic)
	case reLook:
		if c.unbounded(n.subs[0]) {
			return c.p.fail("a look-ahead of unbounded length")
		}
		return c.sub(n, opLook)
	case reAssert:
		i := c.add(reInst{op: opAssert, assert: n.assert})
		c.prog[i].x = c.here()
	}
	return nil
}

// sub emits a sub-program that ends with its own opMatch.
func (c *reCompiler) sub(n *reNode, op reOp) error {
	i := c.add(reInst{op: op, negate: n.negate})
	if err := c.emit(n.subs[0]); err != nil {
		return err
	}
	c.add(reInst{op: opMatch})
	c.prog[i].x = c.here()
	return nil
}

func (c *reCompiler) repeat(n *reNode) error {
	body := n.subs[0]
	for range n.min {
		if err := c.emit(body); err != nil {
			return err
		}
	}
	split := func() int32 { return c.add(reInst{op: opSplit}) }
	patch := func(s, in, out int32) {
		if n.lazy {
			in, out = out, in
		}
		c.prog[s].x, c.prog[s].y = in, out
	}
	if n.max < 0 {
		if body.kind == reSet && !n.lazy {
			i := c.add(reInst{op: opRun, set: body.set})
			c.prog[i].x = c.here()
			return nil
		}
		if c.nullable(body) {
			return c.p.fail("an unbounded repetition of something that can be empty")
		}
		s := split()
		if err := c.emit(body); err != nil {
			return err
		}
		c.add(reInst{op: opJump, x: s})
		patch(s, s+1, c.here())
		return nil
	}
	var splits []int32
	for range n.max - n.min {
		splits = append(splits, split())
		if err := c.emit(body); err != nil {
			return err
		}
	}
	for _, s := range splits {
		patch(s, s+1, c.here())
	}
	return nil
}

func (c *reCompiler) unbounded(n *reNode) bool {
	if n.kind == reRepeat && n.max < 0 {
		return true
	}
	for _, s := range n.subs {
		if c.unbounded(s) {
			return true
		}
	}
	return false
}

func (c *reCompiler) nullable(n *reNode) bool {
	switch n.kind {
	case reSet:
		return false
	case reCat:
		for _, s := range n.subs {
			if !c.nullable(s) {
				return false
			}
		}
		return true
	case reAlt:
		for _, s := range n.subs {
			if c.nullable(s) {
				return true
			}
		}
		return false
	case reRepeat:
		return n.min == 0 || c.nullable(n.subs[0])
	case reAtomic:
		return c.nullable(n.subs[0])
	}
	return true
}

// firstSet is the set of characters that a match can start with, nil when it can be empty or cannot be told.
func (c *reCompiler) firstSet(n *reNode) *runeSet {
	s := newRuneSet()
	if c.nullable(n) || !c.first(n, s) {
		return nil
	}
	s.normalize()
	return s
}

// first adds what n can start with; it reports false when n can be empty.
func (c *reCompiler) first(n *reNode, s *runeSet) bool {
	switch n.kind {
	case reSet:
		s.addSet(n.set)
		return true
	case reCat:
		for _, sub := range n.subs {
			if c.first(sub, s) {
				return true
			}
		}
		return false
	case reAlt:
		all := true
		for _, sub := range n.subs {
			all = c.first(sub, s) && all
		}
		return all
	case reRepeat:
		return c.first(n.subs[0], s) && n.min > 0
	case reAtomic:
		return c.first(n.subs[0], s)
	}
	return false
}
