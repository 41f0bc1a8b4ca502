package abtest

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"
)

// Variant is one arm of an experiment.
type Variant struct {
	Name   string  `json:"name"`
	Weight float64 `json:"weight,omitempty"` // share of the units, relative to the other weights; 0 is 1
}

// Experiment is a deterministic assignment of units to variants. The first variant is the control.
type Experiment struct {
	Name     string    `json:"name"`
	Salt     string    `json:"salt,omitempty"` // enters the hash; empty is Name. A new salt draws a new assignment
	Variants []Variant `json:"variants"`
	// Traffic is the share of units that take part, in (0, 1]; 0 is 1. Raising it keeps every unit that takes part.
	Traffic float64 `json:"traffic,omitempty"`
}

// Validate names the first field that is out of range.
func (e Experiment) Validate() error {
	if e.Name == "" && e.Salt == "" {
		return invalid("Experiment.Name is empty")
	}
	return e.validate()
}

// validate is Validate without a name, which only the hash needs.
func (e Experiment) validate() error {
	if len(e.Variants) < 2 {
		return invalid("Experiment.Variants has %d entries, at least 2 are needed", len(e.Variants))
	}
	if !(e.Traffic >= 0 && e.Traffic <= 1) {
		return invalid("Experiment.Traffic is %g, not between 0 and 1", e.Traffic)
	}
	seen := map[string]bool{}
	for i, v := range e.Variants {
		if v.Name == "" {
			return invalid("Experiment.Variants[%d].Name is empty", i)
		}
		if seen[v.Name] {
			return invalid("Experiment.Variants[%d].Name %q occurs twice", i, v.Name)
		}
		seen[v.Name] = true
		// Weights within these bounds cannot make a score overflow or a sum of weights lose a variant.
		if v.Weight != 0 && !(v.Weight >= 1e-9 && v.Weight <= 1e9) {
			return invalid("Experiment.Variants[%d].Weight is %g, not between 1e-9 and 1e9", i, v.Weight)
		}
	}
	return nil
}

// Assign returns the variant of a unit, and false when the unit takes no part.
//
// Every variant draws a score from the hash of (salt, variant, unit), exponential with the variant's weight as its rate,
// and the smallest wins (weighted rendezvous hashing; Thaler, Ravishankar 1998, with the weights of Schindelhauer,
// Schomaker 2005). So a unit's variant depends on no other unit; a variant added, or given more weight, takes units from
// the others in proportion to their weights, and a unit moves to it or not at all; one removed hands its units on in the
// same way. The hash is SHA-256, so experiments with different salts assign independently.
func (e Experiment) Assign(unit string) (variant string, ok bool, err error) {
	if err := e.Validate(); err != nil {
		return "", false, err
	}
	i, ok := e.assign(unit)
	if !ok {
		return "", false, nil
	}
	return e.Variants[i].Name, true, nil
}

// assign is Assign for an experiment that is known to be valid.
func (e Experiment) assign(unit string) (int, bool) {
	salt := e.Salt
	if salt == "" {
		salt = e.Name
	}
	h := sha256.New()
	if e.Traffic > 0 && e.Traffic < 1 && uniform(h, salt, "traffic", "", unit) >= e.Traffic {
		return 0, false
	}
	best, least := 0, math.Inf(1)
	for i, v := range e.Variants {
		if s := -math.Log(uniform(h, salt, "variant", v.Name, unit)) / v.weight(); s < least {
			best, least = i, s
		}
	}
	return best, true
}

func (v Variant) weight() float64 {
	if v.Weight == 0 {
		return 1
	}
	return v.Weight
}

// uniform hashes its parts to a number strictly between 0 and 1. Lengths go in first, so that no two lists of parts
// read the same.
func uniform(h hash.Hash, parts ...string) float64 {
	h.Reset()
	var n [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	var sum [sha256.Size]byte
	x := binary.LittleEndian.Uint64(h.Sum(sum[:0]))
	return (float64(x>>12) + 0.5) / (1 << 52)
}
