"""Many questions at once to one engine: python threads.py MODEL QUESTION…"""

import sys
from concurrent.futures import ThreadPoolExecutor

import krserve

model, *questions = sys.argv[1:]
with krserve.Engine(model) as engine, ThreadPoolExecutor(8) as pool:
    answers = pool.map(lambda q: engine.chat(q, max_tokens=40), questions)
    for question, answer in zip(questions, answers):
        print(f"{question}\n  {answer.strip()}")
