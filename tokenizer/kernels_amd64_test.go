//go:build !purego

package tokenizer

var kernelSwitches = []kernelSwitch{
	{"BMI2", &useBMI2, []string{"keys"}},
	{"AVX2", &useAVX2, []string{"classify", "valid", "suspects"}},
	{"AVX-512", &useAVX512, []string{"classify", "valid", "suspects"}},
}
