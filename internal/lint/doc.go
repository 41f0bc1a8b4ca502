// Package lint holds the house rules as tests: who may import whom, what code may not contain, how long a file may
// be, links that must resolve, and the golden file of the exported Go surface. Every failure says how to mend it.
//
// `go test ./internal/lint -update` rewrites api/krserve.txt.
package lint
