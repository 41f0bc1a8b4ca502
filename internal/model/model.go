// Package model turns model files into graphs: GGUF files, and directories of config.json with safetensors as Hugging
// Face and MLX write them. There is one file per architecture; what it makes is data for any backend.
package model

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/krserve/krserve/internal/graph"
)

var (
	// ErrFormat is wrapped when a file is damaged or says what no model can be.
	ErrFormat = errors.New("malformed model")
	// ErrUnsupported is wrapped for an architecture, storage type or option that this package lacks.
	ErrUnsupported = errors.New("unsupported model")
)

// Model is an open model. The graph's weights are views of mapped files until Close. It is safe for concurrent reading.
type Model struct {
	Graph   *graph.Graph
	Path    string // as given to Open
	Format  string // "gguf" or "safetensors"
	Arch    string
	Name    string // the model's own name, else its folder's
	Context int    // longest trained context in tokens
	// Tokenizer is the file or directory that tokenizer.Open takes.
	Tokenizer string
	// Source tells the files as they were when they were opened from what they were or will be: their sizes and times.
	Source string
	// EndIDs are the ids that end an answer by config.json or generation_config.json; GGUF keeps them in the tokenizer.
	EndIDs []uint32

	close  func() error
	forget func(data []byte)
	once   sync.Once
}

// Forget lets go of the memory of data, a weight of the graph, until it is read again.
func (m *Model) Forget(data []byte) {
	if m.forget != nil {
		m.forget(data)
	}
}

// Open opens a GGUF file or a directory with config.json and *.safetensors. Weights stay in the files.
// Errors wrap ErrFormat, ErrUnsupported or those of package os, and name the key or tensor.
func Open(path string) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if info.IsDir() {
		return openDir(path)
	}
	return openGGUF(path)
}

// Close unmaps the files. No graph, weight or backend model made from it may be used afterwards. Further calls do nothing.
func (m *Model) Close() error {
	var err error
	m.once.Do(func() {
		if m.close != nil {
			err = m.close()
		}
	})
	return err
}

// WeightBytes returns the stored size of all weights.
func (m *Model) WeightBytes() int64 {
	n := int64(0)
	for i := range m.Graph.Weights {
		w := &m.Graph.Weights[i]
		n += int64(len(w.Data) + len(w.Scales) + len(w.Biases))
	}
	return n
}

// Parameters returns the number of weights.
func (m *Model) Parameters() int64 {
	n := int64(0)
	for i := range m.Graph.Weights {
		n += int64(m.Graph.Weights[i].Rows) * int64(m.Graph.Weights[i].Cols)
	}
	return n
}

// Digest tells models apart: it is a SHA-256 over the graph and every byte of the weights. It reads them all.
func (m *Model) Digest() [sha256.Size]byte {
	g := m.Graph
	h := sha256.New()
	fmt.Fprintf(h, "krserve graph 2\n%v%+v\n", g, g.Ops)
	for _, r := range g.Ropes {
		fmt.Fprintf(h, "rope %v\n", r)
	}
	sums := make([][3][sha256.Size]byte, len(g.Weights))
	next := make(chan int, len(g.Weights))
	for i := range g.Weights {
		next <- i
	}
	close(next)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				w := &g.Weights[i]
				sums[i] = [...][sha256.Size]byte{sha256.Sum256(w.Data), sha256.Sum256(w.Scales), sha256.Sum256(w.Biases)}
			}
		})
	}
	workers.Wait()
	for i := range g.Weights {
		w := &g.Weights[i]
		fmt.Fprintf(h, "%s %v %d %v %x\n", w.Name, w.Type, w.Group, w.AuxType, sums[i])
	}
	return [sha256.Size]byte(h.Sum(nil))
}
