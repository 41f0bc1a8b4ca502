//go:build cgo

package main

// #include "krserve.h"
import "C"

import (
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/krserve/krserve"
	"github.com/krserve/krserve/kvcache"
	"github.com/krserve/krserve/kvcache/redisstore"
)

// sharedPool is closed when its handle and all its engines are.
type sharedPool struct {
	*krserve.KVPool
	store *redisstore.Store // nil when there is none
	users atomic.Int32
}

// hold adds a user, unless the last one has gone.
func (p *sharedPool) hold() bool {
	for n := p.users.Load(); n > 0; n = p.users.Load() {
		if p.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// drop lets one user go. It does nothing on nil.
func (p *sharedPool) drop() error {
	if p == nil || p.users.Add(-1) > 0 {
		return nil
	}
	err := p.KVPool.Close()
	if p.store != nil {
		err = errors.Join(err, p.store.Close())
	}
	return err
}

//export krgo_pool_open
func krgo_pool_open(p *C.kr_pool_params, out *C.uintptr_t, cerr *C.kr_error) C.kr_status {
	return call("kr_pool_open", cerr, func() (status, error) {
		pool, err := openPool(p)
		if err != nil {
			return ok, err
		}
		st, err := give(out, kindPool, pool)
		if err != nil {
			err = errors.Join(err, pool.drop())
		}
		return st, err
	})
}

func openPool(p *C.kr_pool_params) (*sharedPool, error) {
	if p.flags&^C.KR_NO_WAIT != 0 {
		return nil, invalid("flags %#x are not those of kr_pool_params", uint32(p.flags))
	}
	if most := math.MaxInt64 / int64(time.Millisecond); p.ttl_ms < 0 || int64(p.ttl_ms) > most {
		return nil, invalid("ttl_ms is %d: want 0 to %d", int64(p.ttl_ms), most)
	}
	o := kvcache.Options{Bytes: int64(p.bytes), TenantBytes: int64(p.tenant_bytes), TTL: time.Duration(p.ttl_ms) * time.Millisecond,
		HostBytes: int64(p.host_bytes), FileBytes: int64(p.file_bytes), StoreTimeout: time.Duration(p.store_timeout_ms) * time.Millisecond,
		Sequences: int(p.sequences), NoWait: p.flags&C.KR_NO_WAIT != 0}
	var err error
	if o.File, err = name(p.file, "file"); err != nil {
		return nil, err
	}
	url, err := name(p.store, "store")
	if err != nil {
		return nil, err
	}
	pool := &sharedPool{}
	pool.users.Store(1)
	if url != "" {
		if pool.store, err = redisstore.NewURL(url, redisstore.Options{}); err != nil {
			return nil, invalid("store: %v", err)
		}
		o.Store = pool.store
	}
	if pool.KVPool, err = krserve.NewKVPool(o); err != nil {
		if pool.store != nil {
			err = errors.Join(err, pool.store.Close())
		}
		return nil, err
	}
	return pool, nil
}

//export krgo_pool_close
func krgo_pool_close(h C.uintptr_t) C.kr_status {
	return call("kr_pool_close", nil, func() (status, error) {
		v, err := handles.take(handle(h), kindPool)
		if err != nil {
			return ok, err
		}
		return ok, v.(*sharedPool).drop()
	})
}

//export krgo_pool_stats
func krgo_pool_stats(h C.uintptr_t, out *C.kr_pool_counters, cerr *C.kr_error) C.kr_status {
	return call("kr_pool_stats", cerr, func() (status, error) {
		p, err := get[*sharedPool](&handles, handle(h), kindPool)
		if err != nil {
			return ok, err
		}
		used, _ := p.Used()
		t := p.Tiers()
		out.bytes = C.uint64_t(used)
		out.host_records, out.host_hits = C.uint64_t(t.Host.Records), C.uint64_t(t.Host.Hits)
		out.file_records, out.file_hits = C.uint64_t(t.File.Records), C.uint64_t(t.File.Hits)
		out.file_written, out.file_damaged = C.uint64_t(t.File.Written), C.uint64_t(t.File.Damaged)
		out.store_hits, out.store_written = C.uint64_t(t.Store.Hits), C.uint64_t(t.Store.Written)
		out.store_damaged, out.store_failures = C.uint64_t(t.Store.Damaged), C.uint64_t(t.Store.Failures)
		out.unwritten = C.uint64_t(t.Unwritten)
		if t.StoreDown {
			out.store_down = 1
		}
		return ok, nil
	})
}
