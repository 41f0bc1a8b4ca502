//go:build !purego

package tokenizer

var kernelSwitches = []kernelSwitch{{"NEON", &useNEON, []string{"keys", "classify", "valid", "suspects"}}}
