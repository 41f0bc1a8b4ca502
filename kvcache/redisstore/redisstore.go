// Package redisstore keeps KV blocks in Redis or Valkey, so that replicas share the prefixes that one of them computed.
// It is a kvcache.Store.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	neturl "net/url"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/krserve/krserve/kvcache"
)

// Options configure a Store. The zero value keeps keys without expiry under "krserve:kv:".
type Options struct {
	Prefix string        // of every key; "" is "krserve:kv:"
	TTL    time.Duration // longest life of a value, also when the pool has no TTL; 0 = until the server evicts it
}

// Store is a kvcache.Store over a client, which its caller opens, configures (address, TLS, password, cluster) and closes.
type Store struct {
	c   redis.UniversalClient
	o   Options
	own *redis.Client // of NewURL
}

var _ kvcache.Store = (*Store)(nil)

// NewURL returns a store over a client of its own, which Close closes. It does not connect. The url is
// redis://[user:password@]host[:port][/database], rediss:// for TLS, or unix://path. Calls that a dead server has failed
// are not repeated: the pool goes on without.
func NewURL(url string, o Options) (*Store, error) {
	c, err := redis.ParseURL(url)
	if err != nil {
		var u *neturl.Error
		if errors.As(err, &u) {
			err = u.Err // not the text, which may hold a password
		}
		return nil, fmt.Errorf("redisstore: url: %w", err)
	}
	c.ContextTimeoutEnabled, c.MaxRetries, c.DialerRetries = true, -1, 1
	client := redis.NewClient(c)
	s := New(client, o)
	s.own = client
	return s, nil
}

// Close closes the client of a store of NewURL; that of New is its caller's. The store's pool is closed before.
func (s *Store) Close() error {
	if s.own == nil {
		return nil
	}
	return s.own.Close()
}

// New returns a store over a client. It does not connect. The client should have ContextTimeoutEnabled, so that calls end
// with their deadlines, and the server a maxmemory with the policy allkeys-lru or alike.
func New(c redis.UniversalClient, o Options) *Store {
	if o.Prefix == "" {
		o.Prefix = "krserve:kv:"
	}
	return &Store{c: c, o: o}
}

func (s *Store) key(k kvcache.Key) string { return fmt.Sprintf("%s%x", s.o.Prefix, k[:]) }

// Prefix implements kvcache.Store, in one round trip.
func (s *Store) Prefix(ctx context.Context, keys []kvcache.Key) (int, error) {
	found := make([]*redis.IntCmd, len(keys))
	_, err := s.c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, k := range keys {
			found[i] = p.Exists(ctx, s.key(k))
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("redisstore: exists: %w", err)
	}
	for i, c := range found {
		if c.Val() == 0 {
			return i, nil
		}
	}
	return len(keys), nil
}

// Get implements kvcache.Store. It reads one byte more than it wants, so that a foreign value of any size costs no more.
func (s *Store) Get(ctx context.Context, key kvcache.Key, dst []byte) (bool, error) {
	v, err := s.c.GetRange(ctx, s.key(key), 0, int64(len(dst))).Bytes()
	if err != nil {
		return false, fmt.Errorf("redisstore: getrange: %w", err)
	}
	return len(v) == len(dst) && copy(dst, v) > 0, nil // a key that is not there reads as empty
}

// Put implements kvcache.Store.
func (s *Store) Put(ctx context.Context, key kvcache.Key, value []byte, ttl time.Duration) error {
	if s.o.TTL > 0 && (ttl == 0 || s.o.TTL < ttl) {
		ttl = s.o.TTL
	}
	if err := s.c.Set(ctx, s.key(key), value, ttl).Err(); err != nil {
		return fmt.Errorf("redisstore: set: %w", err)
	}
	return nil
}
