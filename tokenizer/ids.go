package tokenizer

// growIDs makes room for more ids: for those that a rest of left bytes will give if it is like the ids that done bytes
// gave, and need at least. Without any, a sixteenth of a long rest tells. Room that is never written takes no memory of
// the system's, so there is a quarter more than that.
func growIDs(dst []uint32, need, ids, done, left int) []uint32 {
	switch {
	case done > 0:
		left = int(float64(ids) / float64(done) * float64(left) * 1.25)
	case left >= 1<<18:
		left /= 64
	default:
		left /= 4
	}
	out := make([]uint32, len(dst), len(dst)+max(need+left, len(dst)/4))
	// In steps: new memory is slow to write, and nothing can stop a copy.
	for i := 0; i < len(dst); i += 1 << 13 {
		copy(out[i:], dst[i:min(i+1<<13, len(dst))])
	}
	return out
}
