package abtest

// Verdict is what a comparison says about a variant.
type Verdict string

// Better and Worse are verdicts in the sense of the metric, LowerIsBetter taken into account.
const (
	Better       Verdict = "better"
	Worse        Verdict = "worse"
	Inconclusive Verdict = "inconclusive"
)

// Report is the outcome of an analysis.
type Report struct {
	Experiment  string       `json:"experiment,omitempty"`
	Method      Method       `json:"method"`
	Alpha       float64      `json:"alpha"`
	Correction  Correction   `json:"correction"`
	Units       int          `json:"units"`
	Planned     int          `json:"planned,omitempty"`
	Looks       int          `json:"looks,omitempty"`
	Variants    []Count      `json:"variants"` // the control first
	SRM         float64      `json:"srm_p"`    // p-value of the observed split against the weights
	Warnings    []Warning    `json:"warnings"`
	Comparisons []Comparison `json:"comparisons"`
	Segments    []Segment    `json:"segments,omitempty"`
}

// Count is the number of units of a variant beside the share that its weight gives it.
type Count struct {
	Name  string  `json:"name"`
	Units int     `json:"units"`
	Share float64 `json:"share"`
}

// Segment is a report on the units with one value of one dimension.
type Segment struct {
	Dimension   string       `json:"dimension"`
	Value       string       `json:"value"` // empty for units that have none
	Units       int          `json:"units"`
	Comparisons []Comparison `json:"comparisons"`
}

// Comparison is one metric of one variant against the control.
type Comparison struct {
	Metric  string  `json:"metric"`
	Variant string  `json:"variant"`
	Test    string  `json:"test"` // what was computed, for readers
	Control Arm     `json:"control"`
	Arm     Arm     `json:"arm"`
	Theta   float64 `json:"theta,omitempty"` // slope on the covariate, with CUPED
	// Absolute is the variant minus the control, Relative the same over the control's value; nil where that is 0 or too
	// uncertain to divide by. Both intervals have level 1 − Alpha.
	Absolute Effect  `json:"absolute"`
	Relative *Effect `json:"relative,omitempty"`
	// Simultaneous has level 1 − Alpha/m for the m comparisons of its family: all of them hold together (Bonferroni).
	Simultaneous Interval `json:"simultaneous"`
	PAdjusted    float64  `json:"p_adjusted"` // of Absolute, by the report's correction
	Verdict      Verdict  `json:"verdict"`
	Reason       string   `json:"reason"`
	Bayes        *Bayes   `json:"bayes,omitempty"` // of the absolute difference; nil where no standard error is known
}

// Arm is one variant's side of a comparison.
type Arm struct {
	N     int     `json:"n"`     // units that take part
	Value float64 `json:"value"` // mean, share, ratio or quantile, before CUPED
	SD    float64 `json:"sd"`    // of one unit, as Plan wants it; after CUPED
}

// Effect is an estimate with its interval and p-value.
type Effect struct {
	Estimate float64  `json:"estimate"`
	StdErr   float64  `json:"std_err"`
	CI       Interval `json:"ci"`
	P        float64  `json:"p"`
}

// Code names a kind of Warning.
type Code string

const (
	WarnSRM          Code = "srm"           // the split does not fit the weights: do not trust the comparison before the cause is known
	WarnPeeking      Code = "peeking"       // a fixed-horizon verdict was looked at before, or too early
	WarnUnplanned    Code = "unplanned"     // a fixed-horizon verdict without a planned size
	WarnTooFew       Code = "too_few"       // a comparison has too few units for its test
	WarnNoVariance   Code = "no_variance"   // every unit has the same value, or ties hide the spread of a quantile
	WarnMissing      Code = "missing"       // variants differ in how many units have a value: the rest may be selected
	WarnCovariate    Code = "covariate"     // units without a value from before the experiment, taken at the mean
	WarnFewEvents    Code = "few_events"    // a proportion of few events: an exact test took the place of the usual one
	WarnContradicted Code = "contradicted"  // segments have opposite verdicts on one metric
	WarnNotPaid      Code = "no_correction" // several comparisons without a correction
)

// Warning says what makes a verdict doubtful.
type Warning struct {
	Code    Code   `json:"code"`
	Metric  string `json:"metric,omitempty"`
	Variant string `json:"variant,omitempty"`
	Segment string `json:"segment,omitempty"` // dimension=value
	Text    string `json:"text"`
}

// Has reports whether the report carries a warning of this kind.
func (r Report) Has(c Code) bool {
	for _, w := range r.Warnings {
		if w.Code == c {
			return true
		}
	}
	return false
}

// Comparison returns that of a metric and a variant, over all units.
func (r Report) Comparison(metric, variant string) (Comparison, bool) {
	for _, c := range r.Comparisons {
		if c.Metric == metric && c.Variant == variant {
			return c, true
		}
	}
	return Comparison{}, false
}
