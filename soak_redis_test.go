package krserve

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/krserve/krserve/kvcache"
	"github.com/krserve/krserve/kvcache/redisstore"
)

// soakRedis is a real server on a socket that is killed and restarted.
type soakRedis struct {
	t      *testing.T
	dir    string
	client *redis.Client
	cmd    *exec.Cmd // nil while it is dead
}

func newSoakRedis(t *testing.T) *soakRedis {
	dir, err := os.MkdirTemp("", "kv") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	s := &soakRedis{t: t, dir: dir, client: redis.NewClient(&redis.Options{Network: "unix", Addr: filepath.Join(dir, "s")})}
	t.Cleanup(func() {
		s.alive(false)
		_ = s.client.Close()
		_ = os.RemoveAll(dir)
	})
	s.alive(true)
	for range 600 {
		if err = s.client.Ping(context.Background()).Err(); err == nil {
			return s
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(err)
	return nil
}

func (s *soakRedis) store() kvcache.Store { return redisstore.New(s.client, redisstore.Options{}) }

// alive starts the server, or kills it at once with all it holds.
func (s *soakRedis) alive(on bool) {
	switch {
	case on && s.cmd == nil:
		s.cmd = exec.Command("redis-server", "--port", "0", "--unixsocket", filepath.Join(s.dir, "s"), "--save", "", "--appendonly", "no", "--dir", s.dir,
			"--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru")
		if err := s.cmd.Start(); err != nil {
			s.cmd = nil
			s.t.Error(err)
		}
	case !on && s.cmd != nil:
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}
