package kvcache

import (
	"crypto/sha256"
	"encoding/binary"
)

// Key names a full block in the lower tiers: a SHA-256 over its model, its tenant and all tokens up to its end. Whoever
// has the key knows neither.
type Key [sha256.Size]byte

// newRoot begins all chains of a model's blocks.
func newRoot(identity string, blockBytes int64) Key {
	h := sha256.New()
	writeField(h, "krserve kv 1")
	writeField(h, identity)
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(blockBytes))
	binary.LittleEndian.PutUint64(b[8:], BlockTokens)
	writeField(h, string(b[:]))
	return Key(h.Sum(nil))
}

// writeField writes s so that no two lists of fields have the same bytes.
func writeField(h interface{ Write([]byte) (int, error) }, s string) {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
	_, _ = h.Write(n[:]) // a hash never fails
	_, _ = h.Write([]byte(s))
}

// tenant begins the chains of one tenant.
func (k Key) tenant(name string) Key {
	h := sha256.New()
	_, _ = h.Write(k[:])
	writeField(h, name)
	return Key(h.Sum(nil))
}

// next returns the key of the block of tokens that follows block k.
func (k Key) next(tokens []uint32) Key {
	var b [sha256.Size + 4*BlockTokens]byte
	copy(b[:], k[:])
	for i, id := range tokens[:BlockTokens] {
		binary.LittleEndian.PutUint32(b[sha256.Size+4*i:], id)
	}
	return sha256.Sum256(b[:])
}

// link gives a block that has filled up its key. Its parent is full and has one.
func (s *Space) link(n *node) {
	if s.tiers == nil {
		return
	}
	before := n.owner.key
	if n.parent != nil {
		before = n.parent.chain
	}
	n.chain = before.next(n.key())
}

// mark puts a full block on the list of those that the lower tiers may lack.
func (s *Space) mark(n *node) {
	if s.tiers == nil || n.dirty {
		return
	}
	n.dirty = true
	s.dirty.push(n.id)
	if s.dirty.len() > 2*len(s.nodes) { // many entries of blocks that have been used anew
		keep := s.dirty.ids[:0]
		seen := make(map[uint32]bool, len(s.nodes))
		for _, id := range s.dirty.ids[s.dirty.head:] {
			if s.nodes[id].dirty && !seen[id] {
				seen[id] = true
				keep = append(keep, id)
			}
		}
		s.dirty.ids, s.dirty.head = keep, 0
	}
}

// queue is a list of block numbers, first in, first out.
type queue struct {
	ids  []uint32
	head int
}

func (q *queue) len() int { return len(q.ids) - q.head }

func (q *queue) push(id uint32) {
	if q.head*2 >= len(q.ids) {
		q.ids, q.head = q.ids[:copy(q.ids, q.ids[q.head:])], 0
	}
	q.ids = append(q.ids, id)
}
