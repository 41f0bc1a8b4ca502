package kvcache

// EventKind says what happened.
type EventKind uint8

const (
	Found     EventKind = iota + 1 // Acquire found Tokens
	Evicted                        // a block of Tokens gave way
	Expired                        // a block of Tokens was forgotten by TTL
	Full                           // an operation found no block
	Spilled                        // a block was copied to the lower tiers
	Restored                       // a block of Tokens came back from a lower tier
	StoreDown                      // the Store fails; it is left alone for a while
	StoreUp                        // the Store answers again
	Damaged                        // a block of a lower tier failed its checksum and was dropped
	FileLost                       // the file tier cannot be written and is no longer used
)

func (k EventKind) String() string {
	names := [...]string{"", "found", "evicted", "expired", "full", "spilled", "restored", "store down", "store up", "damaged", "file lost"}
	if int(k) < len(names) {
		return names[k]
	}
	return ""
}

// Event is one thing that happened in a pool. Events of blocks name their tenant.
type Event struct {
	Kind   EventKind
	Tenant string
	Tokens int
	Err    error // of StoreDown and FileLost
}

// event reports what happened to a tenant's block.
func (s *Space) event(k EventKind, t *tenant, tokens int) {
	if f := s.pool.o.OnEvent; f != nil {
		f(Event{Kind: k, Tenant: t.name, Tokens: tokens})
	}
}
