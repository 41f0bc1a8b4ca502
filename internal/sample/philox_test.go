package sample

import "testing"

// TestPhilox uses the known answers that the authors' Random123 library publishes in kat_vectors.
func TestPhilox(t *testing.T) {
	for _, c := range []struct {
		ctr  [4]uint32
		key  [2]uint32
		want [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0)}, [2]uint32{^uint32(0), ^uint32(0)},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox(c.ctr, c.key); got != c.want {
			t.Errorf("philox(%x, %x) = %x, want %x", c.ctr, c.key, got, c.want)
		}
	}
}

// TestUniform checks range, mean, variance and that each part of the key matters.
func TestUniform(t *testing.T) {
	const n = 100000
	var sum, sq float64
	for i := range uint64(n) {
		u := Uniform(42, 0, i)
		if u < 0 || u >= 1 {
			t.Fatalf("Uniform = %v", u)
		}
		sum += u
		sq += u * u
	}
	// Five standard errors: 5/sqrt(12n) for the mean, 5*sqrt(4/45/n) for the second moment.
	if m := sum / n; m < 0.5-0.0046 || m > 0.5+0.0046 {
		t.Errorf("mean %v", m)
	}
	if m := sq / n; m < 1.0/3-0.0048 || m > 1.0/3+0.0048 {
		t.Errorf("second moment %v", m)
	}
	base := Uniform(1, 2, 3)
	for _, u := range []float64{Uniform(2, 2, 3), Uniform(1|1<<40, 2, 3), Uniform(1, 3, 3), Uniform(1, 2, 4), Uniform(1, 2, 3|1<<40)} {
		if u == base {
			t.Error("a part of the key has no effect")
		}
	}
	if Uniform(1, 2, 3) != base {
		t.Error("not a function of its key")
	}
}
