package stats

import (
	"fmt"
	"math"
)

// RelativeDifference turns the comparison of two means into their relative difference (treatment − control)/control,
// with the standard error by the delta method. It is only good when the control's mean is many standard errors from
// zero. The sign follows the control's mean: from −10 to −5 is −50 %.
func RelativeDifference(control, treatment Summary, side Side, alpha float64) (Result, error) {
	return RelativeTo(control, treatment, control.Mean, treatment.Mean, side, alpha)
}

// RelativeTo is RelativeDifference for summaries whose means were adjusted, as by CUPED: differences are taken of the
// adjusted means and stated relative to the unadjusted ones.
func RelativeTo(control, treatment Summary, controlMean, treatmentMean float64, side Side, alpha float64) (Result, error) {
	if err := checkPair(control, treatment, side, alpha); err != nil {
		return Result{}, err
	}
	if controlMean == 0 || !finite(controlMean) || !finite(treatmentMean) {
		return Result{}, fmt.Errorf("%w: relative difference to a control mean of %g", ErrInput, controlMean)
	}
	va, vb := control.Variance/control.N, treatment.Variance/treatment.N
	ratio := treatmentMean / controlMean
	se := math.Sqrt(vb+va*ratio*ratio) / math.Abs(controlMean)
	return tResult((treatment.Mean-control.Mean)/controlMean, se, welchDF(va, vb, control.N, treatment.N), side, alpha)
}

// RatioSummary reduces paired observations (numerator, denominator) per unit to a summary of their ratio of means whose
// variance is the delta method's (Deng, Knoblich, Lu: Applying the delta method in metric analytics, KDD 2018).
func RatioSummary(num, den []float64) (Summary, error) {
	if len(num) != len(den) || len(num) < 2 {
		return Summary{}, fmt.Errorf("%w: ratio of %d numerators and %d denominators", ErrInput, len(num), len(den))
	}
	a, err := Summarize(num)
	if err != nil {
		return Summary{}, fmt.Errorf("numerator: %w", err)
	}
	b, err := Summarize(den)
	if err != nil {
		return Summary{}, fmt.Errorf("denominator: %w", err)
	}
	r := a.Mean / b.Mean
	if b.Mean == 0 || !finite(r) {
		return Summary{}, fmt.Errorf("%w: ratio of means %g/%g", ErrInput, a.Mean, b.Mean)
	}
	// The variance of the linearised ratio, from the residuals themselves, so that it cannot come out negative.
	ss, comp := 0.0, 0.0
	for i := range num {
		e := ((num[i] - a.Mean) - r*(den[i]-b.Mean)) / b.Mean
		ss += e * e
		comp += e
	}
	v := (ss - comp*comp/a.N) / (a.N - 1)
	if !finite(v) {
		return Summary{}, fmt.Errorf("%w: the variance of the ratio overflows float64; rescale it", ErrInput)
	}
	return Summary{a.N, r, math.Max(0, v)}, nil
}

// CUPED reduces both samples with the covariates pre, which must not depend on the treatment (Deng, Xu, Kohavi, Walker,
// WSDM 2013). theta is the slope of y on pre over both samples together; the adjusted mean is that of
// y − theta·(pre − pooled mean of pre). A constant covariate has theta 0 and adjusts nothing.
func CUPED(yControl, preControl, yTreatment, preTreatment []float64) (control, treatment Summary, theta float64, err error) {
	fail := func(err error) (Summary, Summary, float64, error) { return Summary{}, Summary{}, 0, err }
	if len(yControl) != len(preControl) || len(yTreatment) != len(preTreatment) || len(yControl) < 2 || len(yTreatment) < 2 {
		return fail(fmt.Errorf("%w: CUPED needs one covariate per observation and two observations per sample", ErrInput))
	}
	y := append(append([]float64(nil), yControl...), yTreatment...)
	x := append(append([]float64(nil), preControl...), preTreatment...)
	sy, err := Summarize(y)
	if err != nil {
		return fail(err)
	}
	sx, err := Summarize(x)
	if err != nil {
		return fail(fmt.Errorf("covariate: %w", err))
	}
	if sx.Variance > 0 {
		sxy := 0.0
		for i := range x {
			sxy += (x[i] - sx.Mean) * (y[i] - sy.Mean) / (sx.N - 1)
		}
		if theta = sxy / sx.Variance; !finite(theta) {
			return fail(fmt.Errorf("%w: the covariance with the covariate overflows float64; rescale the samples", ErrInput))
		}
	}
	if theta != 0 {
		for i := range y {
			y[i] -= theta * (x[i] - sx.Mean)
		}
	}
	if control, err = Summarize(y[:len(yControl)]); err != nil {
		return fail(err)
	}
	if treatment, err = Summarize(y[len(yControl):]); err != nil {
		return fail(err)
	}
	return control, treatment, theta, nil
}
