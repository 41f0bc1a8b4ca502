package redisstore

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

// go-redis has one logger per process, which prints to standard error, and dials on contexts of its own, so that a line
// does not tell whose client it is about. A logger that a program sets itself, in main or an init of its own, replaces
// this one.
func init() { redis.SetLogger(&lines) }

var lines log

// log counts what go-redis has to say instead of printing it.
type log struct {
	mu   sync.Mutex
	n    uint64
	last string
}

func (l *log) Printf(_ context.Context, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	l.last = fmt.Sprintf(format, args...)
}

// Notices returns how many lines go-redis has logged in this process, about any of its clients, and the last of them. They
// are not printed, unless the program gives go-redis a logger of its own (redis.SetLogger), which then gets them instead.
// That a store fails or answers again is an event of its pool, too (kvcache.StoreDown, kvcache.StoreUp).
func Notices() (n uint64, last string) {
	lines.mu.Lock()
	defer lines.mu.Unlock()
	return lines.n, lines.last
}
