//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// ANY ORs four vectors, and what of them is not zero is not zero in R8.
#define ANY(a, b, c, d) \
	VORR a.B16, b.B16, V20.B16 \
	VORR c.B16, d.B16, V21.B16 \
	VORR V20.B16, V21.B16, V20.B16 \
	VMOV V20.D[0], R8 \
	VMOV V20.D[1], R9 \
	ORR R9, R8, R8

// func classifyNEON(rows *[8][16]byte, p unsafe.Pointer, m *masks)
// Two look-ups of 64 entries each find what an ASCII byte is; any other keeps what the first starts from. Byte 4i+j of
// the text is byte i of vector j, so a transposition of bits among the four gives half a byte of each lane.
TEXT ·classifyNEON(SB), NOSPLIT, $0-24
	MOVD rows+0(FP), R0
	MOVD p+8(FP), R1
	MOVD m+16(FP), R2
	VLD1.P 64(R0), [V0.B16, V1.B16, V2.B16, V3.B16]
	VLD1 (R0), [V4.B16, V5.B16, V6.B16, V7.B16]
	VLD4 (R1), [V16.B16, V17.B16, V18.B16, V19.B16]
	VMOVI $(1<<const_laneH), V20.B16
	VMOV V20.B16, V21.B16
	VMOV V20.B16, V22.B16
	VMOV V20.B16, V23.B16
	VTBX V16.B16, [V0.B16, V1.B16, V2.B16, V3.B16], V20.B16
	VTBX V17.B16, [V0.B16, V1.B16, V2.B16, V3.B16], V21.B16
	VTBX V18.B16, [V0.B16, V1.B16, V2.B16, V3.B16], V22.B16
	VTBX V19.B16, [V0.B16, V1.B16, V2.B16, V3.B16], V23.B16
	VMOVI $64, V24.B16
	VSUB V24.B16, V16.B16, V16.B16
	VSUB V24.B16, V17.B16, V17.B16
	VSUB V24.B16, V18.B16, V18.B16
	VSUB V24.B16, V19.B16, V19.B16
	VTBX V16.B16, [V4.B16, V5.B16, V6.B16, V7.B16], V20.B16
	VTBX V17.B16, [V4.B16, V5.B16, V6.B16, V7.B16], V21.B16
	VTBX V18.B16, [V4.B16, V5.B16, V6.B16, V7.B16], V22.B16
	VTBX V19.B16, [V4.B16, V5.B16, V6.B16, V7.B16], V23.B16

	// Two bits of each lane: the even lanes in V0 (vectors 0 and 1) and V2 (2 and 3), the odd ones in V21 and V23.
	VMOVI $0x55, V24.B16
	VSHL $1, V21.B16, V0.B16
	VSHL $1, V23.B16, V2.B16
	VUSHR $1, V20.B16, V1.B16
	VUSHR $1, V22.B16, V3.B16
	VBIT V24.B16, V20.B16, V0.B16
	VBIT V24.B16, V22.B16, V2.B16
	VBIT V24.B16, V1.B16, V21.B16
	VBIT V24.B16, V3.B16, V23.B16

	// Four bits: lanes 0 and 4 in V4, 1 and 5 in V5, 2 and 6 in V2, 3 and 7 in V23.
	VMOVI $0x33, V25.B16
	VSHL $2, V2.B16, V4.B16
	VSHL $2, V23.B16, V5.B16
	VUSHR $2, V0.B16, V6.B16
	VUSHR $2, V21.B16, V7.B16
	VBIT V25.B16, V0.B16, V4.B16
	VBIT V25.B16, V21.B16, V5.B16
	VBIT V25.B16, V6.B16, V2.B16
	VBIT V25.B16, V7.B16, V23.B16

	// Eight: lanes 0 and 1 in V16, 2 and 3 in V17, 4 and 5 in V18, 6 and 7 in V19.
	VUZP1 V5.B16, V4.B16, V16.B16
	VUZP2 V5.B16, V4.B16, V18.B16
	VUZP1 V23.B16, V2.B16, V17.B16
	VUZP2 V23.B16, V2.B16, V19.B16
	VMOV V18.B16, V20.B16
	VMOV V19.B16, V21.B16
	VSRI $4, V16.B16, V18.B16
	VSRI $4, V17.B16, V19.B16
	VSLI $4, V20.B16, V16.B16
	VSLI $4, V21.B16, V17.B16
	VST1 [V16.B16, V17.B16, V18.B16, V19.B16], (R2)
	RET

// CHECK ORs to V0 the errors in the bytes of x, which follow those of before: V1, V2 and V3 have them by the upper and
// lower nibble of a byte and the upper nibble of the next; V4 is 0x0f, V5 0x60, V6 0x70, V7 0x80.
#define CHECK(before, x) \
	VEXT $15, x.B16, before.B16, V20.B16 \
	VEXT $14, x.B16, before.B16, V21.B16 \
	VEXT $13, x.B16, before.B16, V22.B16 \
	VUSHR $4, V20.B16, V23.B16 \
	VUSHR $4, x.B16, V24.B16 \
	VAND V4.B16, V20.B16, V20.B16 \
	VTBL V23.B16, [V1.B16], V23.B16 \
	VTBL V20.B16, [V2.B16], V20.B16 \
	VTBL V24.B16, [V3.B16], V24.B16 \
	VAND V20.B16, V23.B16, V23.B16 \
	VAND V24.B16, V23.B16, V23.B16 \
	WORD $0x6e252eb5 \ // uqsub v21.16b, v21.16b, v5.16b
	WORD $0x6e262ed6 \ // uqsub v22.16b, v22.16b, v6.16b
	VORR V21.B16, V22.B16, V21.B16 \
	VAND V7.B16, V21.B16, V21.B16 \
	VEOR V21.B16, V23.B16, V23.B16 \
	VORR V23.B16, V0.B16, V0.B16

// func validNEON(p unsafe.Pointer, n int) uint64
// The tables are those of gen/asm (Keiser and Lemire, Validating UTF-8 In Less Than One Instruction Per Byte, 2021).
TEXT ·validNEON(SB), NOSPLIT, $0-24
	MOVD p+0(FP), R0
	MOVD n+8(FP), R1
	VEOR V0.B16, V0.B16, V0.B16
	CBZ R1, done
	VMOVQ $0x0202020202020202, $0x4915012180808080, V1
	VMOVQ $0xcbcbcb8b8383a3e7, $0xcbcbdbcbcbcbcbcb, V2
	VMOVQ $0x0101010101010101, $0x01010101babaaee6, V3
	VMOVI $0x0f, V4.B16
	VMOVI $0x60, V5.B16
	VMOVI $0x70, V6.B16
	VMOVI $0x80, V7.B16
	SUB $3, R0, R2
	VLD1 (R2), [V15.B16]
	VEXT $3, V15.B16, V0.B16, V15.B16 // the three bytes before, behind zeros

loop:
	VLD1.P 64(R0), [V16.B16, V17.B16, V18.B16, V19.B16]
	ANY(V16, V17, V18, V19)
	VMOV V15.D[1], R9
	ORR R9, R8, R8
	TST $0x8080808080808080, R8
	BEQ next
	CHECK(V15, V16)
	CHECK(V16, V17)
	CHECK(V17, V18)
	CHECK(V18, V19)

next:
	VMOV V19.B16, V15.B16
	SUBS $64, R1, R1
	BNE loop

done:
	VMOV V0.D[0], R8
	VMOV V0.D[1], R9
	ORR R9, R8, R8
	MOVD R8, ret+16(FP)
	RET

// func suspectsNEON(rows *[8][16]byte, p unsafe.Pointer, n int) (blocks int, mask uint64)
// Rows 0 to 3 are those of 0xC0 to 0xFF, 4 to 7 those of 0x80 to 0xBF; a look-up gives zero for all other bytes.
TEXT ·suspectsNEON(SB), NOSPLIT, $0-40
	MOVD rows+0(FP), R0
	MOVD p+8(FP), R1
	MOVD n+16(FP), R2
	VLD1.P 64(R0), [V0.B16, V1.B16, V2.B16, V3.B16]
	VLD1 (R0), [V4.B16, V5.B16, V6.B16, V7.B16]
	VMOVI $0xc0, V28.B16
	VMOVI $0x80, V29.B16
	VMOVQ $0x8040201008040201, $0x8040201008040201, V30
	MOVD $0, R3
	MOVD $0, R4

loop:
	CMP R2, R3
	BEQ done
	ADD $1, R1, R5
	VLD1.P 64(R1), [V16.B16, V17.B16, V18.B16, V19.B16]
	ANY(V16, V17, V18, V19)
	TST $0x8080808080808080, R8
	BEQ next
	VLD1 (R5), [V24.B16, V25.B16, V26.B16, V27.B16]
	VSUB V28.B16, V16.B16, V16.B16
	VSUB V28.B16, V17.B16, V17.B16
	VSUB V28.B16, V18.B16, V18.B16
	VSUB V28.B16, V19.B16, V19.B16
	VSUB V29.B16, V24.B16, V24.B16
	VSUB V29.B16, V25.B16, V25.B16
	VSUB V29.B16, V26.B16, V26.B16
	VSUB V29.B16, V27.B16, V27.B16
	VTBL V16.B16, [V0.B16, V1.B16, V2.B16, V3.B16], V16.B16
	VTBL V17.B16, [V0.B16, V1.B16, V2.B16, V3.B16], V17.B16
	VTBL V18.B16, [V0.B16, V1.B16, V2.B16, V3.B16], V18.B16
	VTBL V19.B16, [V0.B16, V1.B16, V2.B16, V3.B16], V19.B16
	VTBL V24.B16, [V4.B16, V5.B16, V6.B16, V7.B16], V24.B16
	VTBL V25.B16, [V4.B16, V5.B16, V6.B16, V7.B16], V25.B16
	VTBL V26.B16, [V4.B16, V5.B16, V6.B16, V7.B16], V26.B16
	VTBL V27.B16, [V4.B16, V5.B16, V6.B16, V7.B16], V27.B16
	VCMTST V24.B16, V16.B16, V16.B16
	VCMTST V25.B16, V17.B16, V17.B16
	VCMTST V26.B16, V18.B16, V18.B16
	VCMTST V27.B16, V19.B16, V19.B16
	ANY(V16, V17, V18, V19)
	CBNZ R8, found

next:
	ADD $1, R3, R3
	B loop

found:
	// A weight for each of eight bytes, then sums of neighbours: 64 bytes become 32, 16 and 8.
	VAND V30.B16, V16.B16, V16.B16
	VAND V30.B16, V17.B16, V17.B16
	VAND V30.B16, V18.B16, V18.B16
	VAND V30.B16, V19.B16, V19.B16
	VADDP V17.B16, V16.B16, V16.B16
	VADDP V19.B16, V18.B16, V18.B16
	VADDP V18.B16, V16.B16, V16.B16
	VADDP V16.B16, V16.B16, V16.B16
	VMOV V16.D[0], R4

done:
	MOVD R3, blocks+24(FP)
	MOVD R4, mask+32(FP)
	RET

// func keysARM64(base unsafe.Pointer, starts *uint32, n int, t *tables, batch *probes)
// This is keysGo for n pieces, with a prefetch where Go must read.
TEXT ·keysARM64(SB), NOSPLIT, $0-40
	MOVD base+0(FP), R0
	MOVD starts+8(FP), R1
	MOVD n+16(FP), R2
	MOVD t+24(FP), R3
	MOVD batch+32(FP), R4
	ADD $probes_slot, R4, R25
	MOVD tables_tab(R3), R5
	MOVD tables_shift(R3), R6
	MOVD tables_mid(R3), R7
	MOVD tables_mshift(R3), R8
	MOVD $const_hashK0, R9
	MOVD $const_hashK1, R10
	MOVD $·keyMasks(SB), R11
	MOVWU.P 4(R1), R12

loop:
	MOVWU.P 4(R1), R13
	SUB R12, R13, R14
	ADD R12, R0, R15
	MOVD R13, R12
	CMP $15, R14
	BHI mid
	ADD R14<<5, R11, R13
	LDP (R15), (R19, R20)
	LDP (R13), (R21, R22)
	MOVD 16(R13), R23
	AND R21, R19, R19
	AND R22, R20, R20
	ORR R23, R20, R20
	STP.P (R19, R20), 16(R4)
	MUL R9, R19, R19
	MADD R10, R19, R20, R22
	LSR R6, R22, R22
	LSL $5, R22, R22
	ADD R5, R22, R23
	PRFM (R23), PLDL1KEEP
	MOVD.P R22, 8(R25)
	SUBS $1, R2, R2
	BNE loop
	RET

mid:
	MOVD $const_isLong, R20
	MOVD $0, R22
	CMP $const_midBytes, R14
	BHI mark
	ADD R14, R15, R13
	LDP (R15), (R19, R20)
	LDP -16(R13), (R21, R22)
	EOR R14, R19, R19
	EOR R9, R19, R19
	EOR R10, R20, R20
	EOR R10, R21, R21
	EOR R9, R22, R22
	MUL R19, R20, R23
	UMULH R19, R20, R24
	MUL R21, R22, R19
	UMULH R21, R22, R20
	EOR R23, R24, R24
	EOR R19, R20, R20
	EOR R20, R24, R22
	LSR R8, R22, R22
	LSL $6, R22, R22
	ADD R7, R22, R23
	PRFM (R23), PLDL1KEEP
	MOVD $const_isMid, R20

mark:
	STP.P (ZR, R20), 16(R4)
	MOVD.P R22, 8(R25)
	SUBS $1, R2, R2
	BNE loop
	RET
