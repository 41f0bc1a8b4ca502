package backend

import (
	"fmt"

	"github.com/krserve/krserve/internal/graph"
)

// kvNames are the types' names for users, by KVType.
var kvNames = [...]string{KVF16: "f16", KVQ8: "q8_0", KVQ4: "q4", KVF32: "f32"}

// String returns the type's name.
func (t KVType) String() string {
	if int(t) < len(kvNames) {
		return kvNames[t]
	}
	return fmt.Sprintf("KVType(%d)", uint8(t))
}

// ParseKV returns the type of a name.
func ParseKV(name string) (KVType, bool) {
	for t, n := range kvNames {
		if n == name {
			return KVType(t), true
		}
	}
	return 0, false
}

// KVPad is the number of elements of a stored head of dim elements.
func KVPad(dim int) int { return (dim + 31) / 32 * 32 }

// HeadBytes is what a key and a value of one head, layer and position take, scales included. KVF16 keeps the largest
// magnitude of each beside its elements; KVQ8 and KVQ4 a half-float scale per 32 elements.
func (t KVType) HeadBytes(dim int) int {
	pad := KVPad(dim)
	switch t {
	case KVF32:
		return 2 * 4 * dim
	case KVQ8:
		return 2 * (pad + pad/32*2)
	case KVQ4:
		return 2 * (pad/2 + pad/32*2)
	}
	return 2 * (pad*2 + 2)
}

// BlockBytes is the size of one block of a graph's keys and values.
func (t KVType) BlockBytes(g *graph.Graph) int {
	return g.Layers * g.KVHeads * BlockTokens * t.HeadBytes(g.HeadDim)
}

// DefaultKV is the storage that a backend keeps keys and values in unless it is told otherwise: what its results are
// judged by.
func DefaultKV(b Backend) KVType {
	if b.Name() == "reference" {
		return KVF32
	}
	return KVF16
}
