package tokenizer

import (
	"syscall"
	"unsafe"
)

// hugePages asks for huge pages for a new table, before its first touch: a random look-up then misses the TLB less.
func hugePages[E any](tab []E) {
	const page, adviseHuge = 2 << 20, 14
	n := len(tab) * int(unsafe.Sizeof(tab[0]))
	if n < 2*page {
		return
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(tab))), n)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & (page - 1))
	b = b[skip : skip+(n-skip)/page*page]
	_ = syscall.Madvise(b, adviseHuge) // refused where the system has none: nothing is lost
}
