package backend

import "fmt"

// Bounds are what Batch.Check holds a batch against.
type Bounds struct {
	Rows    int // most rows
	Vocab   int // token ids are below
	Blocks  int // block ids are below
	Context int // positions are below; 0 is no bound
}

// Check reports the first thing wrong with a batch, naming the row. It allocates only to make an error, so that every
// backend can call it first in Step.
func (b *Batch) Check(lim Bounds) error {
	n := len(b.Tokens)
	switch {
	case n == 0:
		return fmt.Errorf("backend: empty batch")
	case n > lim.Rows:
		return fmt.Errorf("backend: batch of %d rows, at most %d", n, lim.Rows)
	case len(b.Pos) != n || len(b.Seq) != n:
		return fmt.Errorf("backend: batch of %d tokens with %d positions and %d sequences", n, len(b.Pos), len(b.Seq))
	}
	for r := 0; r < n; r++ {
		seq, pos := b.Seq[r], b.Pos[r]
		switch {
		case uint64(b.Tokens[r]) >= uint64(lim.Vocab):
			return fmt.Errorf("backend: row %d: token %d, vocabulary of %d", r, b.Tokens[r], lim.Vocab)
		case seq < 0 || int(seq) >= len(b.Tables):
			return fmt.Errorf("backend: row %d: sequence %d of %d", r, seq, len(b.Tables))
		case pos < 0 || lim.Context > 0 && int(pos) >= lim.Context:
			return fmt.Errorf("backend: row %d: position %d, context of %d", r, pos, lim.Context)
		}
		if r > 0 {
			switch prev := b.Seq[r-1]; {
			case seq == prev && pos != b.Pos[r-1]+1:
				return fmt.Errorf("backend: row %d: position %d after %d of the same sequence", r, pos, b.Pos[r-1])
			case seq < prev:
				return fmt.Errorf("backend: row %d: sequence %d after %d", r, seq, prev)
			}
		}
		if r+1 == n || b.Seq[r+1] != seq { // the sequence's last row: its table reaches this far
			table := b.Tables[seq]
			need := int(pos)/BlockTokens + 1
			if need > len(table) {
				return fmt.Errorf("backend: row %d: position %d needs %d blocks, the table has %d", r, pos, need, len(table))
			}
			for i, id := range table[:need] {
				if uint64(id) >= uint64(lim.Blocks) {
					return fmt.Errorf("backend: sequence %d: block %d is %d of %d", seq, i, id, lim.Blocks)
				}
			}
		}
	}
	for i, r := range b.Sample {
		if r < 0 || int(r) >= n || i > 0 && r <= b.Sample[i-1] {
			return fmt.Errorf("backend: sample %d: row %d is out of range or order", i, r)
		}
	}
	return nil
}
