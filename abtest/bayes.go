package abtest

import (
	"math"

	"github.com/krserve/krserve/internal/stats"
)

// Bayes is the posterior of a difference under a normal likelihood, as in GrowthBook's engine. It stands beside the
// verdict and has no part in it: it holds whatever the number of looks only if the prior is right.
type Bayes struct {
	ChanceToWin float64  `json:"chance_to_win"` // that the variant is better
	Estimate    float64  `json:"estimate"`
	CI          Interval `json:"ci"` // central credible interval
	// Risk is the expected loss of choosing the variant, RiskControl that of keeping the control.
	Risk        float64 `json:"risk"`
	RiskControl float64 `json:"risk_control"`
}

// bayes is nil when the posterior is not proper. base is the control's value, on which a relative prior is scaled.
func bayes(estimate, stdErr, base float64, o Options, lowerIsBetter bool) *Bayes {
	if !(stdErr > 0) || !finite(estimate, stdErr) {
		return nil
	}
	mean, sd := estimate, stdErr
	if o.Prior != nil {
		priorSD := o.Prior.SD * math.Abs(base)
		if !(priorSD > 0) || math.IsInf(priorSD, 0) {
			return nil
		}
		// Weights that cannot overflow.
		share := 1 / (1 + (stdErr/priorSD)*(stdErr/priorSD)) // of the data
		mean = share*estimate + (1-share)*o.Prior.Mean*math.Abs(base)
		sd = stdErr * math.Sqrt(share)
	}
	if !(sd > 0) {
		return nil
	}
	z := mean / sd
	density := math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
	half := -stats.NormalQuantile(o.Alpha/2) * sd
	// Mean of the positive part of a normal variable; the mirror image keeps its digits.
	gain := math.Max(0, sd*(density+z*stats.NormalSurvival(-z)))
	loss := math.Max(0, sd*(density-z*stats.NormalSurvival(z)))
	b := &Bayes{ChanceToWin: stats.NormalSurvival(-z), Estimate: mean, CI: Interval{mean - half, mean + half}, Risk: loss, RiskControl: gain}
	if lowerIsBetter {
		b.ChanceToWin, b.Risk, b.RiskControl = stats.NormalSurvival(z), gain, loss
	}
	return b
}
