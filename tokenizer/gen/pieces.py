"""Writes random texts with the piece ends that HF tokenizers' pre-tokenizers give: one JSON line per text, keys
text and ends (by scanner: byte offsets of the pieces' ends).

usage: python pieces.py OUT.jsonl.gz TEXTS SEED    (needs the package tokenizers, 0.23.3)
"""
import gzip, json, random, sys
from tokenizers import Regex, pre_tokenizers as pt

CL = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O2 = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
      r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
      r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DS = ("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|"
      "\\s*[\r\n]+|\\s+(?!\\S)|\\s+")
split = lambda rx: pt.Split(Regex(rx), "isolated")
bytelevel = pt.ByteLevel(add_prefix_space=False, use_regex=True)
PRE = {
    "gpt2": bytelevel,
    "smol": pt.Sequence([pt.Digits(individual_digits=True), bytelevel]),
    "qwen2": split(CL % ""),
    "cl100k": split(CL % "{1,3}"),
    "o200k": split(O2),
    "deepseek": pt.Sequence([split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DS)]),
}
PARTS = list(" \n\r\t'.,(\"-/1aZsÉé_") + [
    "'s", "'LL", "'re", "'ſ", "'T", "don't", "I'VE", "  ", "\n\n", " \n", "\n ", "\n/", "{\n//", "\u3000", "\u00a0", "，", "“", "我们", "的", "中国", "ひらがな",
    "カタカナ", "・", "ー", "゛", "\u3040", "\u3099", "한국", "é", "e\u0301", "क़", "क\u093c", "नमस्ते", "🙂", "👨‍👩‍👧", "❤️", "hello", " the", " world", "HTTPServer", "camelCase",
    "日本ABC", "ǅ", "ʰ", "ª", "٣", "½", "Ⅷ", "\x00", "\x0b", "\x1c", "\x7f", "\u200d", "\u200b", "\ufeff", "\u2028", "\u0085", "a" * 20, "A" * 70, "=" * 30, " " * 40, "7" * 10, "的" * 9, "ไทย",
    "\u0301", "\U00016ff4", "\U00020000", "'t", "'", "¿", "€", "!", "?a", "$Ab", "#é", "русский", "Ёж", "العربية", "\r\n", "\r\n\r\n\t", "\t\t", "123", "4567", "x1y2"]
rnd = random.Random(int(sys.argv[3]))
with gzip.open(sys.argv[1], "wt", encoding="utf-8") as out:
    for _ in range(int(sys.argv[2])):
        k = rnd.choice([1, 3, 10, 30, 60, 200])
        sub = rnd.sample(PARTS, rnd.randint(1, 12))
        text = "".join(rnd.choice(sub) if rnd.random() < .93 else
                       chr(rnd.choice([rnd.randint(1, 0x7ff), rnd.randint(0x800, 0xd7ff), rnd.randint(0xe000, 0x323af)])) for _ in range(k))
        offset = [0]
        for c in text: offset.append(offset[-1] + len(c.encode()))
        ends = {name: [offset[b] for _, (a, b) in p.pre_tokenize_str(text)] for name, p in PRE.items()}
        out.write(json.dumps({"text": text, "ends": ends}, ensure_ascii=False) + "\n")
