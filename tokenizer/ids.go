package tokenizer

// growIDs makes room for more ids: for those that a rest of left bytes will give if it is like the ids that done bytes
// gave, and need at least. Without any, a sixteenth of a long rest tells.
func growIDs(dst []uint32, need, ids, done, left int) []uint32 {
	switch {
	case done > 0:
		left = int(float64(ids) / float64(done) * float64(left) * 1.06)
	case left >= 1<<18:
		left /= 64
	default:
		left /= 4
	}
	return append(make([]uint32, 0, len(dst)+max(need+left, len(dst)/4)), dst...)
}
