//go:build cgo && !purego && !windows

package cpu

// #ifdef __clang__
// #define KR_COMPILER "clang " __VERSION__
// #else
// #define KR_COMPILER "gcc " __VERSION__
// #endif
// static const char *kr_compiler(void) { return KR_COMPILER; }
import "C"

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"runtime"
	"sync"
)

// sources are what the kernels' results depend on, besides the compiler.
//
//go:embed *.c *.h cpu.go plan.go
var sources embed.FS

// version is a hash of the kernels' sources with the compiler that made this binary.
var version = sync.OnceValue(func() string {
	h := sha256.New()
	names, err := sources.ReadDir(".")
	for _, n := range names {
		var data []byte
		if data, err = sources.ReadFile(n.Name()); err != nil {
			break
		}
		fmt.Fprintf(h, "%s %d\n%s", n.Name(), len(data), data)
	}
	if err != nil {
		return "" // what is embedded can be read
	}
	fmt.Fprintf(h, "%s %s", C.GoString(C.kr_compiler()), runtime.GOARCH)
	return fmt.Sprintf("%x", h.Sum(nil))
})

// identity names what decides the bits of a KV block, besides the graph and the storage type. The kernel variants all give
// the same bits, but for Accelerate.
func identity(accelerate, narrow bool) string {
	s := "cpu " + version()
	if accelerate {
		s += " " + Accelerate
	}
	if narrow {
		s += ", 8-bit activations"
	}
	return s
}
