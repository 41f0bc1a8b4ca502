// Command libkrserve is the C library behind include/krserve.h. `make libkrserve OUT=dir` builds it; as a plain
// program it does nothing.
//
// A call walks shim.c (const-correct public kr_*, NULL and struct_size checks), an exported krgo_* (views of the
// caller's memory), call (panics become KR_ERR_INTERNAL) and the handle table, into the public Go packages.
package main

func main() {}
