package stats

import (
	"fmt"
	"math"
)

// wager is the wealth of a mixture of bets, an e-process, and the level at which it rejects.
//
// A test at level α has no use for an e-value above 1/α. A bet that could exceed it is therefore cut to reach it
// exactly, and what the cut saves is kept for the other outcome: the conditional mean under the null stays 1, and the
// limit is reached sooner (Fischer, Ramdas: Improving Wald's sequential probability ratio test by avoiding overshoot,
// arXiv 2410.16076).
type wager struct {
	alpha   float64   // 0 without a level
	limit   float64   // log of 1/α, or infinite
	bets    []float64 // log of each bet's likelihood ratio times its share
	wealth  float64   // log e-value: the sum of the bets, but for what cuts have changed
	maxLogE float64
}

// newWager divides the stake by shares. alpha that is no level is none.
func newWager(alpha float64, shares []float64) wager {
	w := wager{limit: math.Inf(1), bets: make([]float64, len(shares))}
	if alpha > 0 && alpha < 1 {
		w.alpha, w.limit = alpha, -math.Log(alpha)
	}
	for i, share := range shares {
		w.bets[i] = math.Log(share)
	}
	return w
}

// settle ends a round: in and out are what the bets become if it was the treatment's or the control's, logIn and logOut
// the log probabilities of these two under the null.
func (w *wager) settle(in, out []float64, logIn, logOut float64, inTreatment bool) {
	before := logSumExp(w.bets)
	gainIn, gainOut := logSumExp(in)-before, logSumExp(out)-before
	if gainIn >= gainOut {
		gainIn, gainOut = cut(w.limit-w.wealth, gainIn, gainOut, logIn, logOut)
	} else {
		gainOut, gainIn = cut(w.limit-w.wealth, gainOut, gainIn, logOut, logIn)
	}
	if inTreatment {
		copy(w.bets, in)
		w.wealth += gainIn
	} else {
		copy(w.bets, out)
		w.wealth += gainOut
	}
	if w.wealth > w.limit-1e-12 {
		w.wealth = w.limit
	}
	w.maxLogE = math.Max(w.maxLogE, w.wealth)
}

// cut bounds the gain of the favourable outcome by what the limit leaves, and raises the other's so that the mean stays
// 1. The log probabilities are those of the two outcomes under the null.
func cut(room, gain, loss, logP, logOther float64) (float64, float64) {
	switch {
	case room <= 0:
		return 0, 0 // rejected: it stays at that
	case gain <= room:
		return gain, loss
	}
	return room, math.Max(loss, math.Log1p(-math.Min(1, math.Exp(logP+room)))-logOther)
}

// Alpha returns the level; 0 is none.
func (w *wager) Alpha() float64 { return w.alpha }

// LogE returns the natural logarithm of the e-value now. Under the null its exponential has mean at most 1 at any
// stopping time.
func (w *wager) LogE() float64 { return w.wealth }

// MaxLogE returns the largest LogE so far. P(max e ≥ 1/α) ≤ α under the null (Ville's inequality).
func (w *wager) MaxLogE() float64 { return w.maxLogE }

// PValue returns the anytime-valid p-value 1/max e.
func (w *wager) PValue() float64 { return math.Min(1, math.Exp(-w.maxLogE)) }

// Rejected reports whether the null is rejected at level alpha at some time so far.
func (w *wager) Rejected(alpha float64) bool { return w.maxLogE >= -math.Log(alpha) }

// restore takes over what a state says, if a wager at its level can have come to that.
func (w *wager) restore(what string, alpha float64, bets []float64, logE, maxLogE float64) error {
	if len(bets) != len(w.bets) || w.alpha != alpha {
		return fmt.Errorf("%w: %s state has %d bets and level %g", ErrInput, what, len(bets), alpha)
	}
	for _, x := range append([]float64{logE}, bets...) {
		if math.IsNaN(x) || math.IsInf(x, 1) {
			return fmt.Errorf("%w: %s state holds %g", ErrInput, what, x)
		}
	}
	if !(maxLogE >= 0) || math.IsInf(maxLogE, 1) || logE > maxLogE || maxLogE > w.limit {
		return fmt.Errorf("%w: %s state has a log e of %g and a maximum of %g", ErrInput, what, logE, maxLogE)
	}
	copy(w.bets, bets)
	w.wealth, w.maxLogE = logE, maxLogE
	return nil
}
