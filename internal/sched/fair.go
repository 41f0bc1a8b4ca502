package sched

// Fairness between tenants: every tenant has a counter of the rows computed for it, and who has the lowest is next
// (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024). Positions found in the cache cost nothing.

// arrive takes a task into the queue. A tenant that comes back from idleness starts level with the least served of those
// that are there: idle time is no credit.
func (s *Scheduler) arrive(t *Task) {
	low, active := 0.0, false
	for _, list := range [][]*Task{s.waiting, s.running} {
		for _, r := range list {
			if r.Tenant == t.Tenant {
				s.waiting = append(s.waiting, t)
				return
			}
			if x := s.served[r.Tenant]; !active || x < low {
				low, active = x, true
			}
		}
	}
	if !active {
		clear(s.served) // nobody is there to compare with
	}
	s.served[t.Tenant] = max(s.served[t.Tenant], low)
	s.waiting = append(s.waiting, t)
	if len(s.served) > 64 && len(s.served) > 4*(len(s.waiting)+len(s.running)) {
		s.forget(low)
	}
}

// forget drops the counters of absent tenants that arrive would lift anyway.
func (s *Scheduler) forget(low float64) {
	here := map[string]bool{}
	for _, list := range [][]*Task{s.waiting, s.running} {
		for _, t := range list {
			here[t.Tenant] = true
		}
	}
	for name, x := range s.served {
		if x <= low && !here[name] {
			delete(s.served, name)
		}
	}
}

// claim is what a tenant has had and what has been promised to its running prompts.
func (s *Scheduler) claim(tenant string) float64 {
	x := s.served[tenant]
	for _, t := range s.running {
		if t.Tenant == tenant {
			x += float64(t.pending())
		}
	}
	return x
}
