//go:build cgo

package main

import (
	"testing"

	"github.com/krserve/krserve/internal/testenv"
)

func library(t *testing.T, tags string) string { t.Helper(); return testenv.Library(t, tags) }
