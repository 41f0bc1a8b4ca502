package canary

import "hash/fnv"

// Bucket maps a session key to [0, 1) by a hash of salt and key. It depends on nothing else, so every process that
// knows the salt puts a session in the same place.
func Bucket(salt, key string) float64 { return float64(hash(salt, key)>>11) / (1 << 53) }

// hash mixes its parts, kept apart by zero bytes.
func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for i, p := range parts {
		if i > 0 {
			h.Write([]byte{0})
		}
		h.Write([]byte(p))
	}
	x := h.Sum64()
	// FNV's high bits mix poorly on short keys; finish as in SplitMix64.
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return x
}

// Assign returns the arm of a session at a canary weight. Assignment is sticky and monotone: a session that is on the
// canary at one weight is there at every higher weight.
func Assign(salt, key string, weight float64) Arm {
	if Bucket(salt, key) < weight {
		return Canary
	}
	return Stable
}
