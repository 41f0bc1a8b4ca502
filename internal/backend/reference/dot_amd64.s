//go:build !purego

#include "textflag.h"

// Lane masks for the last 1 to 7 elements: 8 set words, then 8 clear ones.
DATA tail<>+0(SB)/8, $-1
DATA tail<>+8(SB)/8, $-1
DATA tail<>+16(SB)/8, $-1
DATA tail<>+24(SB)/8, $-1
DATA tail<>+32(SB)/8, $0
DATA tail<>+40(SB)/8, $0
DATA tail<>+48(SB)/8, $0
DATA tail<>+56(SB)/8, $0
GLOBL tail<>(SB), RODATA|NOPTR, $64

// Multiplications and additions stay apart, as in dotGeneric.
#define STEP(w, x, acc, tmp) VMULPS w, x, tmp; VADDPS tmp, acc, acc

// The tree of dotGeneric: ((0+4)+(2+6)) + ((1+5)+(3+7)).
#define TREE(y, x, off) \
	VEXTRACTF128 $1, y, X15 \
	VADDPS X15, x, x \
	VMOVHLPS x, x, X15 \
	VADDPS X15, x, x \
	VMOVSHDUP x, X15 \
	VADDSS X15, x, x \
	VMOVSS x, off(DI)

// func dot4x2(dst *[8]float32, x0, x1, x2, x3, w0, w1 *float32, n int)
TEXT ·dot4x2(SB), NOSPLIT, $0-64
	MOVQ dst+0(FP), DI
	MOVQ x0+8(FP), R8
	MOVQ x1+16(FP), R9
	MOVQ x2+24(FP), R10
	MOVQ x3+32(FP), R11
	MOVQ w0+40(FP), R12
	MOVQ w1+48(FP), R13
	MOVQ n+56(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	XORQ AX, AX
	SUBQ $8, CX
	JLT  rest

loop:
	VMOVUPS (R12)(AX*4), Y8
	VMOVUPS (R13)(AX*4), Y9
	VMOVUPS (R8)(AX*4), Y10
	STEP(Y8, Y10, Y0, Y11)
	STEP(Y9, Y10, Y1, Y12)
	VMOVUPS (R9)(AX*4), Y10
	STEP(Y8, Y10, Y2, Y11)
	STEP(Y9, Y10, Y3, Y12)
	VMOVUPS (R10)(AX*4), Y10
	STEP(Y8, Y10, Y4, Y11)
	STEP(Y9, Y10, Y5, Y12)
	VMOVUPS (R11)(AX*4), Y10
	STEP(Y8, Y10, Y6, Y11)
	STEP(Y9, Y10, Y7, Y12)
	ADDQ $8, AX
	CMPQ AX, CX
	JLE  loop

rest:
	ADDQ $8, CX
	SUBQ AX, CX
	JEQ  done
	LEAQ tail<>+32(SB), DX
	SHLQ $2, CX
	SUBQ CX, DX
	VMOVUPS (DX), Y14
	VMASKMOVPS (R12)(AX*4), Y14, Y8
	VMASKMOVPS (R13)(AX*4), Y14, Y9
	VMASKMOVPS (R8)(AX*4), Y14, Y10
	STEP(Y8, Y10, Y0, Y11)
	STEP(Y9, Y10, Y1, Y12)
	VMASKMOVPS (R9)(AX*4), Y14, Y10
	STEP(Y8, Y10, Y2, Y11)
	STEP(Y9, Y10, Y3, Y12)
	VMASKMOVPS (R10)(AX*4), Y14, Y10
	STEP(Y8, Y10, Y4, Y11)
	STEP(Y9, Y10, Y5, Y12)
	VMASKMOVPS (R11)(AX*4), Y14, Y10
	STEP(Y8, Y10, Y6, Y11)
	STEP(Y9, Y10, Y7, Y12)

done:
	TREE(Y0, X0, 0)
	TREE(Y1, X1, 4)
	TREE(Y2, X2, 8)
	TREE(Y3, X3, 12)
	TREE(Y4, X4, 16)
	TREE(Y5, X5, 20)
	TREE(Y6, X6, 24)
	TREE(Y7, X7, 28)
	VZEROUPPER
	RET

// func dot1x4(dst *[4]float32, x, w0, w1, w2, w3 *float32, n int)
TEXT ·dot1x4(SB), NOSPLIT, $0-56
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), R8
	MOVQ w0+16(FP), R9
	MOVQ w1+24(FP), R10
	MOVQ w2+32(FP), R11
	MOVQ w3+40(FP), R12
	MOVQ n+48(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	XORQ AX, AX
	SUBQ $8, CX
	JLT  rest

loop:
	VMOVUPS (R8)(AX*4), Y8
	VMULPS  (R9)(AX*4), Y8, Y9
	VADDPS  Y9, Y0, Y0
	VMULPS  (R10)(AX*4), Y8, Y10
	VADDPS  Y10, Y1, Y1
	VMULPS  (R11)(AX*4), Y8, Y11
	VADDPS  Y11, Y2, Y2
	VMULPS  (R12)(AX*4), Y8, Y12
	VADDPS  Y12, Y3, Y3
	ADDQ $8, AX
	CMPQ AX, CX
	JLE  loop

rest:
	ADDQ $8, CX
	SUBQ AX, CX
	JEQ  done
	LEAQ tail<>+32(SB), DX
	SHLQ $2, CX
	SUBQ CX, DX
	VMOVUPS (DX), Y14
	VMASKMOVPS (R8)(AX*4), Y14, Y8
	VMASKMOVPS (R9)(AX*4), Y14, Y9
	STEP(Y8, Y9, Y0, Y11)
	VMASKMOVPS (R10)(AX*4), Y14, Y9
	STEP(Y8, Y9, Y1, Y11)
	VMASKMOVPS (R11)(AX*4), Y14, Y9
	STEP(Y8, Y9, Y2, Y11)
	VMASKMOVPS (R12)(AX*4), Y14, Y9
	STEP(Y8, Y9, Y3, Y11)

done:
	TREE(Y0, X0, 0)
	TREE(Y1, X1, 4)
	TREE(Y2, X2, 8)
	TREE(Y3, X3, 12)
	VZEROUPPER
	RET

// func axpy32(out, w, v *float32, rows, dim int)
// out[i] += w[p]*v[p*dim+i] for p = 0 … rows-1 in order; dim is a multiple of 32.
TEXT ·axpy32(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ w+8(FP), R8
	MOVQ v+16(FP), R9
	MOVQ rows+24(FP), R10
	MOVQ dim+32(FP), CX
	MOVQ CX, R11
	SHLQ $2, R11

chunk:
	VMOVUPS (DI), Y0
	VMOVUPS 32(DI), Y1
	VMOVUPS 64(DI), Y2
	VMOVUPS 96(DI), Y3
	MOVQ R9, R12
	XORQ AX, AX

row:
	VBROADCASTSS (R8)(AX*4), Y8
	VMULPS  (R12), Y8, Y9
	VADDPS  Y9, Y0, Y0
	VMULPS  32(R12), Y8, Y10
	VADDPS  Y10, Y1, Y1
	VMULPS  64(R12), Y8, Y11
	VADDPS  Y11, Y2, Y2
	VMULPS  96(R12), Y8, Y12
	VADDPS  Y12, Y3, Y3
	ADDQ R11, R12
	INCQ AX
	CMPQ AX, R10
	JLT  row
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, 64(DI)
	VMOVUPS Y3, 96(DI)
	ADDQ $128, DI
	ADDQ $128, R9
	SUBQ $32, CX
	JGT  chunk
	VZEROUPPER
	RET
