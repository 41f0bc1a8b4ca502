package canary

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// maxSample bounds how many sessions an arm's sample holds, maxRanked how many sessions ever count for ranks.
const (
	maxSample = 8192
	maxRanked = 16384
)

// thinned holds something of each session that was seen, by the session's hash. Beyond most sessions it keeps those whose
// hash ends in a zero bit more, again and again: a simple random sample, whatever order the sessions came in.
type thinned[V any] struct {
	level int // sessions whose hash ends in level zero bits are kept
	of    map[uint64]V
}

func (s *thinned[V]) keeps(key uint64) bool { return key&(1<<s.level-1) == 0 }

// thin drops sessions until there are at most most, and tells of each.
func (s *thinned[V]) thin(most int, dropped func(V)) {
	for len(s.of) > most {
		s.level++
		for k, v := range s.of {
			if !s.keeps(k) {
				dropped(v)
				delete(s.of, k)
			}
		}
	}
}

// sessions is the set of sessions that count for ranks. None of which it has told that it is new is ever new once more:
// what it drops it no longer takes.
type sessions struct{ thinned[bool] }

func newSessions() sessions { return sessions{thinned[bool]{of: map[uint64]bool{}}} }

// add reports whether a session is new and among those that count.
func (s *sessions) add(session string) bool {
	key := hash("evidence", session)
	if !s.keeps(key) || s.of[key] {
		return false
	}
	s.of[key] = true
	s.thin(maxRanked, func(bool) {})
	return true
}

// SessionsSnapshot is a set of sessions as plain data.
type SessionsSnapshot struct {
	Level int    `json:"level,omitempty"`
	Seen  []byte `json:"seen,omitempty"` // hashes as little-endian words, ascending
}

func (s *sessions) snapshot() SessionsSnapshot {
	out := make([]byte, 0, 8*len(s.of))
	for _, k := range slices.Sorted(maps.Keys(s.of)) {
		out = binary.LittleEndian.AppendUint64(out, k)
	}
	return SessionsSnapshot{s.level, out}
}

func restoreSessions(snap SessionsSnapshot) (sessions, error) {
	s := newSessions()
	if s.level = snap.Level; s.level < 0 || s.level > 63 || len(snap.Seen)%8 != 0 || len(snap.Seen) > 8*maxRanked {
		return s, fmt.Errorf("%w: a set of %d bytes at level %d", ErrState, len(snap.Seen), s.level)
	}
	for b := snap.Seen; len(b) > 0; b = b[8:] {
		key := binary.LittleEndian.Uint64(b)
		if s.of[key] || !s.keeps(key) {
			return s, fmt.Errorf("%w: session %x of a set", ErrState, key)
		}
		s.of[key] = true
	}
	return s, nil
}

// sample knows the sessions that one arm has served in the present stage, and of each which gates have judged it and
// which have seen a fault. A session counts once per gate, however many requests it makes: sessions are what is
// randomised. Beyond maxSample sessions it keeps a random half, chosen by the session's hash, again and again; what it
// keeps is a simple random sample, whatever order the sessions came in.
type sample struct {
	thinned[marks]
	judged []int64 // sessions per gate
	faulty []int64 // of those, with at least one fault
}

// marks are sets of gates, by index.
type marks struct{ judged, faulty uint64 }

func newSample(gates int) sample {
	return sample{thinned: thinned[marks]{of: map[uint64]marks{}}, judged: make([]int64, gates), faulty: make([]int64, gates)}
}

func (s *sample) observe(session string, m marks) {
	key := hash("evidence", session)
	if !s.keeps(key) {
		return
	}
	s.count(s.of[key], -1)
	m = marks{s.of[key].judged | m.judged, s.of[key].faulty | m.faulty}
	s.of[key] = m
	s.count(m, 1)
	s.thin(maxSample, func(m marks) { s.count(m, -1) })
}

func (s *sample) count(m marks, by int64) {
	for i := range s.judged {
		s.judged[i] += by * int64(m.judged>>i&1)
		s.faulty[i] += by * int64(m.faulty>>i&1)
	}
}

// total is how many sessions the arm has served; an estimate once the sample holds only part of them.
func (s *sample) total() int64 { return int64(len(s.of)) << s.level }

// SampleSnapshot is the sessions of one arm in the present stage as plain data.
type SampleSnapshot struct {
	Level int `json:"level,omitempty"`
	// Sessions holds 24 bytes of each: its hash, and the sets of gates that have judged it and seen a fault, as
	// little-endian words, by ascending hash.
	Sessions []byte `json:"sessions,omitempty"`
}

func (s *sample) snapshot() SampleSnapshot {
	out := make([]byte, 0, 24*len(s.of))
	for _, k := range slices.Sorted(maps.Keys(s.of)) {
		out = binary.LittleEndian.AppendUint64(out, k)
		out = binary.LittleEndian.AppendUint64(out, s.of[k].judged)
		out = binary.LittleEndian.AppendUint64(out, s.of[k].faulty)
	}
	return SampleSnapshot{s.level, out}
}

func restoreSample(gates int, snap SampleSnapshot) (sample, error) {
	s := newSample(gates)
	if s.level = snap.Level; s.level < 0 || s.level > 63 || len(snap.Sessions)%24 != 0 || len(snap.Sessions) > 24*maxSample {
		return s, fmt.Errorf("%w: a sample of %d bytes at level %d", ErrState, len(snap.Sessions), s.level)
	}
	for b := snap.Sessions; len(b) > 0; b = b[24:] {
		key := binary.LittleEndian.Uint64(b)
		m := marks{binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}
		if _, twice := s.of[key]; twice || !s.keeps(key) || m.judged>>gates != 0 || m.faulty&^m.judged != 0 {
			return s, fmt.Errorf("%w: session %x of a sample", ErrState, key)
		}
		s.of[key] = m
		s.count(m, 1)
	}
	return s, nil
}
