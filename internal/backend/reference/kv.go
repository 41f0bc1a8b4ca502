package reference

import (
	"fmt"

	"github.com/krserve/krserve/internal/backend"
)

// arena keeps keys and values in blocks. A block holds, per layer, K and then V, each as KV heads × 32 positions × a row
// of the codec. A block that was never written is nil and reads as zeros.
type arena struct {
	kvCodec
	heads     int
	size      int // bytes of one block
	blocks    [][]byte
	committed int64
}

func newArena(kind backend.KVType, layers, heads, dim, blocks int) *arena {
	a := &arena{kvCodec: newCodec(kind, dim), heads: heads, blocks: make([][]byte, blocks)}
	a.size = layers * 2 * heads * backend.BlockTokens * a.bytes
	return a
}

// rows returns the stored keys (which = 0) or values (1) of one layer and head: 32 positions. The block must have been
// written.
func (a *arena) rows(id backend.BlockID, layer, which, head int) []byte {
	n := backend.BlockTokens * a.bytes
	return a.blocks[id][((layer*2+which)*a.heads+head)*n:][:n]
}

// read returns positions [lo, hi) of rows as floats, in buf unless they are stored so.
func (a *arena) read(id backend.BlockID, layer, which, head, lo, hi int, buf []float32) []float32 {
	src := a.rows(id, layer, which, head)[lo*a.bytes : hi*a.bytes]
	if a.kind == backend.KVF32 {
		return floats(src)
	}
	buf = buf[:(hi-lo)*a.width]
	a.decode(buf, src)
	return buf
}

func (a *arena) commit(id backend.BlockID) []byte {
	if a.blocks[id] == nil {
		a.blocks[id] = make([]byte, a.size)
		a.committed += int64(a.size)
	}
	return a.blocks[id]
}

func (a *arena) release(id backend.BlockID) {
	if a.blocks[id] != nil {
		a.blocks[id] = nil
		a.committed -= int64(a.size)
	}
}

func (a *arena) check(what string, ids []backend.BlockID) error {
	for i, id := range ids {
		if uint64(id) >= uint64(len(a.blocks)) {
			return fmt.Errorf("reference: %s: block %d is %d of %d", what, i, id, len(a.blocks))
		}
	}
	return nil
}

// Blocks implements backend.Model.
func (m *Model) Blocks() int { return len(m.kv.blocks) }

// BlockBytes implements backend.Model.
func (m *Model) BlockBytes() int { return m.kv.size }

// CopyBlocks implements backend.Model.
func (m *Model) CopyBlocks(dst, src []backend.BlockID) error {
	if m.closed {
		return errClosed
	}
	if len(dst) != len(src) {
		return fmt.Errorf("reference: copy of %d blocks to %d", len(src), len(dst))
	}
	if err := m.kv.check("copy", src); err != nil {
		return err
	}
	if err := m.kv.check("copy", dst); err != nil {
		return err
	}
	for i, s := range src {
		if from := m.kv.blocks[s]; from == nil {
			m.kv.release(dst[i])
		} else {
			copy(m.kv.commit(dst[i]), from)
		}
	}
	return nil
}

// ReadBlocks implements backend.Model.
func (m *Model) ReadBlocks(dst []byte, ids []backend.BlockID) error {
	if m.closed {
		return errClosed
	}
	if err := m.kv.check("read", ids); err != nil {
		return err
	}
	size := m.BlockBytes()
	if len(dst) != len(ids)*size {
		return fmt.Errorf("reference: read of %d blocks into %d bytes, want %d", len(ids), len(dst), len(ids)*size)
	}
	for i, id := range ids {
		to := dst[i*size:][:size]
		clear(to[copy(to, m.kv.blocks[id]):])
	}
	return nil
}

// WriteBlocks implements backend.Model.
func (m *Model) WriteBlocks(ids []backend.BlockID, src []byte) error {
	if m.closed {
		return errClosed
	}
	if err := m.kv.check("write", ids); err != nil {
		return err
	}
	size := m.BlockBytes()
	if len(src) != len(ids)*size {
		return fmt.Errorf("reference: write of %d blocks from %d bytes, want %d", len(ids), len(src), len(ids)*size)
	}
	for i, id := range ids {
		copy(m.kv.commit(id), src[i*size:])
	}
	return nil
}

// ReleaseBlocks implements backend.Model. The memory goes back with the next garbage collection.
func (m *Model) ReleaseBlocks(ids []backend.BlockID) error {
	if m.closed {
		return errClosed
	}
	if err := m.kv.check("release", ids); err != nil {
		return err
	}
	for _, id := range ids {
		m.kv.release(id)
	}
	return nil
}
