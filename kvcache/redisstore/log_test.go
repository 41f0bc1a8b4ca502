package redisstore

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/krserve/krserve/kvcache"
)

// child tells the child of TestPrintsNothing which socket the server listens on.
var child = flag.String("redis-child", "", "used by TestPrintsNothing")

// TestPrintsNothing runs a program that uses a store whose server is killed: nothing but its own line is printed, and what
// the client library has to say is counted.
func TestPrintsNothing(t *testing.T) {
	if *child != "" {
		printsNothing(t)
		return
	}
	srv := startServer(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestPrintsNothing$", "-redis-child="+srv.path)
	var out, stderr bytes.Buffer
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := srv.client()
	defer c.Close()
	until(t, "the child to store a value", func() bool { return len(c.Keys(context.Background(), "krserve:kv:*").Val()) > 0 })
	srv.kill()
	if _, err := fmt.Fprintln(in, "dead"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if stderr.Len() > 0 {
		t.Errorf("printed:\n%s", &stderr)
	}
	if got := out.String(); !strings.HasPrefix(got, "counted: ") || !strings.Contains(got, "failed to dial") {
		t.Errorf("standard output: %q", got)
	}
}

// printsNothing is the child: it has the client's own defaults, under which a dead server is reported most.
func printsNothing(t *testing.T) {
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: *child, DialTimeout: time.Second})
	defer c.Close()
	s, ctx := New(c, Options{}), context.Background()
	if err := s.Put(ctx, kvcache.Key{1}, []byte("value"), 0); err != nil {
		t.Fatal(err)
	}
	var line string
	if _, err := fmt.Scanln(&line); err != nil {
		t.Fatal(err)
	}
	until(t, "the client library to say something", func() bool {
		if _, err := s.Get(ctx, kvcache.Key{1}, make([]byte, 5)); err == nil {
			t.Fatal("Get from a dead server succeeds")
		}
		n, _ := Notices()
		return n > 0
	})
	_, last := Notices()
	fmt.Println("counted:", last)
}
