package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Writer collects tensors and writes them as one file. The zero Writer is empty and ready. Its methods keep the first
// error for WriteTo.
type Writer struct {
	header map[string]any
	data   []func(io.Writer) error
	sizes  []int
	end    int
	err    error
}

type entry struct {
	DType   DType  `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

// SetMetadata sets the file's __metadata__.
func (w *Writer) SetMetadata(meta map[string]string) { w.put("__metadata__", meta) }

// Add adds a tensor, row-major; data is kept until WriteTo.
func (w *Writer) Add(name string, d DType, shape []int, data []byte) {
	n := w.AddFunc(name, d, shape, func(out io.Writer) error {
		_, err := out.Write(data)
		return err
	})
	if n != len(data) {
		w.fail(fmt.Errorf("safetensors: tensor %q has %d bytes, its shape and type need %d", name, len(data), n))
	}
}

// AddFunc adds a tensor whose bytes write produces during WriteTo; it returns how many these must be.
func (w *Writer) AddFunc(name string, d DType, shape []int, write func(io.Writer) error) int {
	size, ok := uint64(d.Bytes()), d.Bytes() > 0
	for _, n := range shape {
		if n < 0 || !ok {
			ok = false
			break
		}
		size, ok = mulFits(size, uint64(n))
	}
	if !ok || len(shape) > maxDims || name == "__metadata__" {
		w.fail(fmt.Errorf("safetensors: tensor %q cannot be written as %s of shape %v", name, d, shape))
		return 0
	}
	w.put(name, entry{d, append([]int{}, shape...), [2]int{w.end, w.end + int(size)}})
	w.end += int(size)
	w.data = append(w.data, write)
	w.sizes = append(w.sizes, int(size))
	return int(size)
}

func (w *Writer) put(name string, v any) {
	if w.header == nil {
		w.header = map[string]any{}
	}
	if _, dup := w.header[name]; dup {
		w.fail(fmt.Errorf("safetensors: %q is added twice", name))
	}
	w.header[name] = v
}

func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// WriteTo writes the file. The data begin at a multiple of 8.
func (w *Writer) WriteTo(out io.Writer) (int64, error) {
	if w.err != nil {
		return 0, w.err
	}
	text := []byte("{}")
	if len(w.header) > 0 {
		var err error
		if text, err = json.Marshal(w.header); err != nil {
			return 0, fmt.Errorf("safetensors: %w", err)
		}
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	c := &counter{w: out}
	if _, err := c.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)); err != nil {
		return c.n, err
	}
	for i, write := range w.data {
		before := c.n
		if err := write(c); err != nil {
			return c.n, err
		}
		if c.n-before != int64(w.sizes[i]) {
			return c.n, fmt.Errorf("safetensors: tensor %d wrote %d bytes of %d", i, c.n-before, w.sizes[i])
		}
	}
	return c.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
