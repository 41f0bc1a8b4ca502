package sample

// counts is a set of token ids with two facts each: how often it is in the answer, and that it is in the sequence.
// Open addressing with linear probing; it allocates only when it doubles.
type counts struct {
	slots []slot
	used  []uint32 // indices of slots in use, in order of arrival
}

type slot struct {
	id     uint32
	answer uint32 // occurrences in the answer
	live   bool
}

func (c *counts) add(id uint32, answer uint32) {
	if 4*(len(c.used)+1) > 3*len(c.slots) {
		c.grow()
	}
	i := c.find(id)
	s := &c.slots[i]
	if !s.live {
		s.id, s.live = id, true
		c.used = append(c.used, i)
	}
	s.answer += answer
}

func (c *counts) find(id uint32) uint32 {
	mask := uint32(len(c.slots) - 1)
	i := id * 0x9E3779B1 & mask
	for c.slots[i].live && c.slots[i].id != id {
		i = (i + 1) & mask
	}
	return i
}

func (c *counts) grow() {
	old, order := c.slots, c.used
	c.slots = make([]slot, max(64, 2*len(old)))
	c.used = make([]uint32, 0, len(c.slots)*3/4+1)
	for _, i := range order {
		j := c.find(old[i].id)
		c.slots[j] = old[i]
		c.used = append(c.used, j)
	}
}
