package tokenizer

import (
	"errors"
	"testing"
)

// TestInParallel: the least error wins, and a panic comes to the caller, who may recover: elsewhere it would end the process.
func TestInParallel(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	done := make([]bool, 100)
	err := inParallel(len(done), func(i int) error {
		done[i] = true
		switch i {
		case 30:
			return first
		case 31:
			return second
		}
		return nil
	})
	if err != first {
		t.Errorf("%v", err)
	}
	for i, d := range done {
		if !d {
			t.Errorf("%d was left out", i)
		}
	}
	defer func() {
		if r := recover(); r != "thrown" {
			t.Errorf("recovered %v", r)
		}
	}()
	_ = inParallel(8, func(i int) error {
		if i == 5 {
			panic("thrown") //lint:allow panic: what the test is about
		}
		return nil
	})
	t.Error("no panic")
}
