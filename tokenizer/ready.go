package tokenizer

import (
	"bytes"
	"unsafe"
)

// readyEntry is a token of at most readyBytes bytes that its own text gives. k0 and the low half of k1 are the text, zero padded; above
// are the id, 24 bits, and the length. Zero is free.
type readyEntry struct{ k0, k1 uint64 }

// readyTokens finds such tokens: whatever is new to the cache of pieces is looked for here before it is merged. Immutable.
type readyTokens struct {
	tab   []readyEntry
	shift uint // 64 - log2(len(tab))
}

const (
	readyBytes  = 12
	readyIDs    = (1<<24 - 1) << 32
	readyMinLog = 4
)

// readyWant is k1 of the entry of a piece whose key has k1, but for the id.
func readyWant(k1 uint64) uint64 { return k1&(1<<32-1) | k1&(15<<56) }

// find gives the id of a piece of at most readyBytes bytes by its key, or noID.
func (t *readyTokens) find(k *[2]uint64) uint32 {
	want, mask := readyWant(k[1]), uint64(len(t.tab)-1)
	for i := pieceHash(k[0], k[1]) >> (t.shift & 63); ; i++ {
		e := &t.tab[i&mask]
		switch {
		case e.k0 == k[0] && e.k1&^readyIDs == want:
			return uint32(e.k1 >> 32 & (1<<24 - 1))
		case e.k1 == 0:
			return noID
		}
	}
}

func (t *readyTokens) put(k [2]uint64, id uint32) {
	i, mask := pieceHash(k[0], k[1])>>t.shift, uint64(len(t.tab)-1)
	for t.tab[i&mask].k1 != 0 {
		i++
	}
	t.tab[i&mask] = readyEntry{k[0], readyWant(k[1]) | uint64(id)<<32}
}

// pieceKey is the key of a piece of at most 15 bytes in the cache.
func pieceKey(b []byte) (k [2]uint64) {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&k)), 15), b)
	k[1] |= uint64(len(b)) << 56
	return k
}

// keyBytes are the bytes of a piece by its key.
func keyBytes(k *[2]uint64) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(k)), k[1]>>56&15) }

// newReadyTokens enters the tokens of the set whole; with ignore_merges all that text may give. A space in a piece stands for U+2581
// where spaces is set. The table is empty where there is no such set.
func newReadyTokens(m *bpeModel, whole []uint64, spaces bool) (t readyTokens) {
	v := m.vocab
	if whole == nil && !m.ignoreMerges {
		return t
	}
	log := readyMinLog
	for 5<<log < 8*v.size() {
		log++
	}
	t = readyTokens{touched[readyEntry](1 << log), uint(64 - log)}
	for id := range uint32(v.size()) {
		b := v.bytes(id)
		if len(b) == 0 || len(b) > 3*readyBytes || whole != nil && whole[id>>6]>>(id&63)&1 == 0 {
			continue
		}
		if whole == nil { // of tokens with one text, the one that is found
			if found, ok := v.find(b); !ok || found != id {
				continue
			}
		}
		if b = readyText(b, spaces); len(b) > 0 && len(b) <= readyBytes {
			t.put(pieceKey(b), id)
		}
	}
	return t
}

// readyText is a token as a piece of text spells it, nil for one that no piece does.
func readyText(token []byte, spaces bool) []byte {
	switch {
	case !spaces:
		return token
	case bytes.IndexByte(token, ' ') >= 0:
		return nil // a space in the text is never itself
	case bytes.Contains(token, spaceMarkUTF8):
		return bytes.ReplaceAll(token, spaceMarkUTF8, []byte{' '})
	}
	return token
}
