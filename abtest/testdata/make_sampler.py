"""Writes sampler.csv, the file of the worked example in docs/abtest.md: invented visits, numbers from a seed.

usage: make_sampler.py > sampler.csv"""

import random

random.seed(7)
print("unit,variant,segment.lang,good:proportion,seconds:p90:lower,tokens:cuped,tokens.pre")
for i in range(600):
    warm = random.random() < 0.5
    pre = random.lognormvariate(4, 0.4)
    good = int(random.random() < (0.72 if warm else 0.55))
    seconds = random.lognormvariate(0.3 if warm else 0.25, 0.5)
    tokens = 20 + 0.8 * pre + 4 * warm + random.gauss(0, 12)
    print(f"u{i:03},{'warm' if warm else 'control'},{'de' if i % 3 == 0 else 'en'},{good},{seconds:.2f},{tokens:.0f},{pre:.0f}")
