package kvcache

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"
)

// A record is a block with a header, the same bytes in every tier:
//
//	0  magic "KRKV"    4  version        8  key (32 bytes)
//	40 length of data  44 CRC-32C of data
//	48 time written, seconds since 1970  56 epoch of its place in the file, 0 elsewhere
//	60 CRC-32C of the header before it   64 data
const (
	recordMagic   = 0x564b524b
	recordVersion = 1
	headerBytes   = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type header struct {
	key     Key
	length  int
	sum     uint32
	written int64
	epoch   uint32
}

func (h header) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, recordMagic)
	le.PutUint32(b[4:], recordVersion)
	copy(b[8:40], h.key[:])
	le.PutUint32(b[40:], uint32(h.length))
	le.PutUint32(b[44:], h.sum)
	le.PutUint64(b[48:], uint64(h.written))
	le.PutUint32(b[56:], h.epoch)
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
}

// parseHeader reads what put wrote; ok is false for anything else.
func parseHeader(b []byte) (h header, ok bool) {
	le := binary.LittleEndian
	if len(b) < headerBytes || le.Uint32(b) != recordMagic || le.Uint32(b[4:]) != recordVersion ||
		le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return h, false
	}
	h = header{length: int(le.Uint32(b[40:])), sum: le.Uint32(b[44:]), written: int64(le.Uint64(b[48:])), epoch: le.Uint32(b[56:])}
	copy(h.key[:], b[8:40])
	return h, true
}

// seal fills in a record's header.
func seal(rec []byte, key Key, now time.Time) {
	data := rec[headerBytes:]
	header{key: key, length: len(data), sum: crc32.Checksum(data, castagnoli), written: now.Unix()}.put(rec)
}

// intact reports whether rec is the whole record of key, and when it was written.
func intact(rec []byte, key Key) (written int64, ok bool) {
	h, ok := parseHeader(rec)
	if !ok || !bytes.Equal(h.key[:], key[:]) || h.length != len(rec)-headerBytes || h.sum != crc32.Checksum(rec[headerBytes:], castagnoli) {
		return 0, false
	}
	return h.written, true
}
