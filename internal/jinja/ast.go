package jinja

// expr is an expression. The parser makes it, the compiler fills in slots, and eval runs it; after compiling it
// never changes.
type expr interface {
	eval(st *state) (Value, error)
}

// stmt is a statement.
type stmt interface {
	exec(st *state) (control, error)
}

// control says how a statement ended.
type control uint8

const (
	ctlNext control = iota
	ctlBreak
	ctlContinue
)

// varRef is where a variable lives: slot of the activation that is up levels above the current one.
type varRef struct{ up, slot int }

type (
	constExpr struct{ v Value }
	dataExpr  struct{ text string } // template text

	nameExpr struct {
		name string
		ctx  uint8 // ctxLoad, ctxStore, ctxParam
		ref  varRef
		line int
	}
	nsRef struct { // ns.attr as the target of an assignment
		name, attr string
		ref        varRef
		line       int
	}
	tupleExpr struct{ items []expr }
	listExpr  struct{ items []expr }
	dictExpr  struct{ keys, vals []expr }

	attrExpr struct {
		obj  expr
		name string
		m    *methodSet // which types have a method of that name; nil if none
	}
	itemExpr  struct{ obj, key expr }
	sliceExpr struct{ obj, start, stop, step expr } // obj is nil when the slice is part of a tuple

	callArgs struct {
		pos     []expr
		kwNames []string
		kwVals  []expr
		dynPos  expr
		dynKw   expr
	}
	callExpr struct {
		fn expr
		callArgs
		line   int
		caller *macroDef // of a call block
	}
	filterExpr struct {
		obj  expr // nil in filter blocks: the captured text
		name string
		fn   filterFunc // nil if unknown
		callArgs
		line int
	}
	testExpr struct {
		obj  expr
		name string
		fn   testFunc
		callArgs
		line int
	}
	binExpr struct {
		op          byte // + - * / f(loor) % p(ow)
		left, right expr
		line        int
	}
	logicExpr struct { // and, or
		or          bool
		left, right expr
	}
	notExpr struct{ obj expr }
	negExpr struct{ obj expr } // -x
	posExpr struct{ obj expr } // +x
	catExpr struct{ items []expr }
	cmpExpr struct {
		first expr
		ops   []cmpOp
		rest  []expr
	}
	condExpr struct {
		test, yes, no expr // no may be nil
		line          int
	}
)

const (
	ctxLoad uint8 = iota
	ctxStore
	ctxParam
)

type cmpOp uint8

const (
	opEq cmpOp = iota
	opNe
	opLt
	opLe
	opGt
	opGe
	opIn
	opNotIn
)

type (
	outputStmt struct {
		items []expr
		line  int
	}
	ifStmt struct {
		test  expr
		body  []stmt
		elifs []*ifStmt
		else_ []stmt
		line  int
	}
	forStmt struct {
		target    expr
		iter      expr
		test      expr
		testVar   expr // target once more, in the frame of test
		body      []stmt
		else_     []stmt
		recursive bool
		line      int

		extended  bool // the body may use "loop"
		loopRef   varRef
		hasElse   bool
		frame     frameInit // at the start of each iteration
		elseFrame frameInit
		testFrame frameInit
		testSlots int // of the activation of test
		slots     int // of the activation of a recursive loop
	}
	macroStmt struct {
		def *macroDef
		ref varRef
		top bool // also a context variable
	}
	callStmt struct {
		def  *macroDef
		call *callExpr
		line int
	}
	filterStmt struct {
		filter *filterExpr
		body   []stmt
		frame  frameInit
		line   int
	}
	withStmt struct {
		targets, values []expr
		body            []stmt
		frame           frameInit
		line            int
	}
	setStmt struct {
		target expr
		value  expr
		nsRefs []*nsRef
		export []exportVar
		line   int
	}
	setBlockStmt struct {
		target expr
		filter *filterExpr
		body   []stmt
		frame  frameInit
		export []exportVar
		line   int
	}
	scopeStmt struct { // autoescape
		value expr
		body  []stmt
		frame frameInit
		line  int
	}
	blockStmt struct {
		name             string
		scoped, required bool
		body             []stmt
		locals           []exportVar // what a scoped block sees
		line             int
	}
	loadStmt struct { // extends, include, import, from: there is no loader
		tag    string
		source expr
		names  []string // what import and from would define
		line   int
	}
	generationStmt struct {
		def  *macroDef
		line int
	}
	breakStmt    struct{ line int }
	continueStmt struct{ line int }
)

// exportVar copies a slot to a context variable, which blocks see.
type exportVar struct {
	name string
	ref  varRef
}

// macroDef is the code of a macro or call block.
type macroDef struct {
	name     string // "" is a call block
	args     []*nameExpr
	defaults []expr // of the last arguments
	body     []stmt
	line     int

	slots           int
	frame           frameInit
	caller          bool // wants the implicit parameter
	kwargs, varargs bool
	explicitCaller  bool // "caller" is a declared argument
	callerSlot      int
	kwSlot, varSlot int
}

// frameInit sets the variables of a scope when it is entered.
type frameInit struct {
	loads []frameLoad
	clear []int // slots to unset when it is left
}

type frameLoad struct {
	slot int
	kind uint8 // loadResolve, loadAlias, loadMissing
	name string
	free int // index among the template's free names, for loadResolve
	from varRef
}

const (
	loadParam uint8 = iota
	loadResolve
	loadAlias
	loadMissing
)
