package canary

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sort"
)

// maxSample bounds how many sessions an arm's sample holds, maxRanked how many sessions ever count for ranks.
const (
	maxSample = 8192
	maxRanked = 16384
)

// sessions is a set of sessions that were seen. Beyond maxRanked it takes only those whose hash ends in a zero bit more,
// again and again, so that none of which it has told is ever new once more.
type sessions struct {
	level int
	seen  map[uint64]bool
}

func newSessions() sessions { return sessions{seen: map[uint64]bool{}} }

// add reports whether a session is new and among those that count.
func (s *sessions) add(session string) bool {
	key := hash("evidence", session)
	if !s.keeps(key) || s.seen[key] {
		return false
	}
	s.seen[key] = true
	for len(s.seen) > maxRanked {
		s.level++
		for k := range s.seen {
			if !s.keeps(k) {
				delete(s.seen, k)
			}
		}
	}
	return true
}

func (s *sessions) keeps(key uint64) bool { return key&(1<<s.level-1) == 0 }

// SessionsSnapshot is a set of sessions as plain data.
type SessionsSnapshot struct {
	Level int    `json:"level,omitempty"`
	Seen  []byte `json:"seen,omitempty"` // hashes as little-endian words, ascending
}

func (s *sessions) snapshot() SessionsSnapshot {
	out := make([]byte, 0, 8*len(s.seen))
	for _, k := range slices.Sorted(maps.Keys(s.seen)) {
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
		if s.seen[key] || !s.keeps(key) {
			return s, fmt.Errorf("%w: session %x of a set", ErrState, key)
		}
		s.seen[key] = true
	}
	return s, nil
}

// sample knows the sessions that one arm has served in the present stage, and of each which gates have judged it and
// which have seen a fault. A session counts once per gate, however many requests it makes: sessions are what is
// randomised. Beyond maxSample sessions it keeps a random half, chosen by the session's hash, again and again; what it
// keeps is a simple random sample, whatever order the sessions came in.
type sample struct {
	level    int // sessions whose hash ends in level zero bits are kept
	sessions map[uint64]marks
	judged   []int64 // sessions per gate
	faulty   []int64 // of those, with at least one fault
}

// marks are sets of gates, by index.
type marks struct{ judged, faulty uint64 }

func newSample(gates int) sample {
	return sample{sessions: map[uint64]marks{}, judged: make([]int64, gates), faulty: make([]int64, gates)}
}

func (s *sample) observe(session string, m marks) {
	key := hash("evidence", session)
	if !s.keeps(key) {
		return
	}
	s.count(s.sessions[key], -1)
	m = marks{s.sessions[key].judged | m.judged, s.sessions[key].faulty | m.faulty}
	s.sessions[key] = m
	s.count(m, 1)
	for len(s.sessions) > maxSample {
		s.level++
		for k, v := range s.sessions {
			if !s.keeps(k) {
				s.count(v, -1)
				delete(s.sessions, k)
			}
		}
	}
}

func (s *sample) keeps(key uint64) bool { return key&(1<<s.level-1) == 0 }

func (s *sample) count(m marks, by int64) {
	for i := range s.judged {
		s.judged[i] += by * int64(m.judged>>i&1)
		s.faulty[i] += by * int64(m.faulty>>i&1)
	}
}

// total is how many sessions the arm has served; an estimate once the sample holds only part of them.
func (s *sample) total() int64 { return int64(len(s.sessions)) << s.level }

// SampleSnapshot is the sessions of one arm in the present stage as plain data.
type SampleSnapshot struct {
	Level int `json:"level,omitempty"`
	// Sessions holds 24 bytes of each: its hash, and the sets of gates that have judged it and seen a fault, as
	// little-endian words, by ascending hash.
	Sessions []byte `json:"sessions,omitempty"`
}

func (s *sample) snapshot() SampleSnapshot {
	keys := make([]uint64, 0, len(s.sessions))
	for k := range s.sessions {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i] < keys[j] })
	out := make([]byte, 0, 24*len(keys))
	for _, k := range keys {
		out = binary.LittleEndian.AppendUint64(out, k)
		out = binary.LittleEndian.AppendUint64(out, s.sessions[k].judged)
		out = binary.LittleEndian.AppendUint64(out, s.sessions[k].faulty)
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
		if _, twice := s.sessions[key]; twice || !s.keeps(key) || m.judged>>gates != 0 || m.faulty&^m.judged != 0 {
			return s, fmt.Errorf("%w: session %x of a sample", ErrState, key)
		}
		s.sessions[key] = m
		s.count(m, 1)
	}
	return s, nil
}
