//go:build !amd64 || purego

package reference

func dotName() string { return "generic" }

func matmul(dst []float32, ld int, x, w []float32, rows, outs, n int) {
	matmulGeneric(dst, ld, x, w, rows, outs, n)
}

func axpy(out, w, v []float32) { axpyGeneric(out, w, v) }
