//go:build !purego

package tokenizer

var kernelSwitches = []kernelSwitch{
	{"BMI2", &useBMI2, []string{"keys", "emit"}},
	{"AVX2", &useAVX2, []string{"classify", "valid", "suspects"}},
	{"AVX-512", &useAVX512, []string{"keys", "merge", "places", "classify", "valid", "suspects"}},
}
