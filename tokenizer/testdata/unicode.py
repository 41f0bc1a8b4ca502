"""Digests of what HF tokenizers 0.23.3 makes of all code points; usage: python unicode.py > unicode.json"""
import hashlib, json
from tokenizers import Regex, normalizers as N, pre_tokenizers as P
cps = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
alone, dense = "x".join(map(chr, cps)), "".join(map(chr, cps))
sha = lambda s: hashlib.sha256(s.encode()).hexdigest()
patterns = ["(?i:[a-z\u017fk\u00e5])", "(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"[\p{L}&&[^\p{Han}]]+", r"\p{Lu}|\p{Lt}", r"[^\s\p{L}\p{N}]+", r"\w+|\d",
            r"[[:space:]]|[[:digit:]]", r"\p{Cyrillic}|\p{Greek}|\p{Hiragana}", r"\h+", r".\b.", r"\p{M}+|\p{P}|\p{S}+(?=\p{L})", r"(?i:[\u0391-\u03a9\u0410-\u042f])++"]
norms = dict(NFC=N.NFC(), NFD=N.NFD(), NFKC=N.NFKC(), NFKD=N.NFKD(), Lowercase=N.Lowercase(), StripAccents=N.StripAccents(), Nmt=N.Nmt(), BertNormalizer=N.BertNormalizer())
pres = dict(Whitespace=P.Whitespace(), WhitespaceSplit=P.WhitespaceSplit(), Punctuation=P.Punctuation(), Digits=P.Digits(True), BertPreTokenizer=P.BertPreTokenizer(), UnicodeScripts=P.UnicodeScripts())
cuts = lambda p, t: sha(",".join("%d:%d" % o for _, o in p.pre_tokenize_str(t)))
print(json.dumps(dict(patterns={p: cuts(P.Split(Regex(p), "isolated"), dense) for p in patterns}, normalizers={k: [sha(n.normalize_str(alone)), sha(n.normalize_str(dense))] for k, n in norms.items()},
                      pretokenizers={k: [cuts(p, alone), cuts(p, dense)] for k, p in pres.items()}), indent=1, ensure_ascii=False))
