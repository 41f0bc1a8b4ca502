"""Writes ../unicode.bin: the character data of HF tokenizers, probed from the library itself.

usage: python unicode.py OUT    (needs the packages tokenizers and unicodedata2-free Python)

Each component of HF tokenizers carries its own Unicode version: Oniguruma's classes, the Rust standard
library's, the regex crate's, and old normalisation tables. So nothing here comes from a Unicode release;
every value is what the reference does with that code point. See ../unidata.go for the file's layout.
"""
import sys, unicodedata
from tokenizers import Regex, normalizers, pre_tokenizers as pt

CPS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
TEXT = "".join(map(chr, CPS))

def removed_by(pre):
    """Code points that a pre-tokenizer with behaviour "removed" takes away."""
    keep = set()
    for piece, _ in pre.pre_tokenize_str(TEXT):
        keep.update(map(ord, piece))
    return [c for c in CPS if c not in keep]

def members(rx):
    return removed_by(pt.Split(Regex(rx), "removed"))

CATS = ["Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
        "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cs"]
cat = [0] * 0x110000
for i, name in enumerate(CATS[1:], 1):
    if name == "Cs": continue
    for c in members(r"\p{%s}" % name): cat[c] = i
for c in range(0xD800, 0xE000): cat[c] = CATS.index("Cs")
for top in "LMNPSZ":                                  # the groups are the unions of their parts
    assert set(members(r"\p{%s}" % top)) == {c for c in CPS if CATS[cat[c]][0] == top}, top

FLAGS = [0] * 0x110000
def flag(bit, cps):
    for c in cps: FLAGS[c] |= 1 << bit
flag(0, members(r"\s"))                               # Oniguruma \s
flag(1, members(r"\w"))                               # Oniguruma \w
flag(2, members(r"\d"))                               # Oniguruma \d
flag(3, removed_by(pt.Split(Regex(r"\h"), "removed")))# Oniguruma \h (hex digit)
flag(4, removed_by(pt.WhitespaceSplit()))             # Rust char::is_whitespace
digits = set()
for piece, _ in pt.Digits(individual_digits=True).pre_tokenize_str("".join("\u0600" + chr(c) for c in CPS)):
    if len(piece) == 1: digits.add(ord(piece))
digits.discard(0x600)
flag(5, digits)                                       # Rust char::is_numeric
keep = set()
for piece, _ in pt.Whitespace().pre_tokenize_str(TEXT): keep.update(map(ord, piece))
flag(6, [c for c in CPS if c not in keep])            # regex crate \s
word = set()
for piece, _ in pt.Whitespace().pre_tokenize_str(" ".join("a" + chr(c) for c in CPS if c in keep)):
    if len(piece) == 2: word.add(ord(piece[1]))
word.add(ord("a"))
flag(7, word)                                         # regex crate \w
flag(8, removed_by(pt.Punctuation("removed")))        # unicode_categories is_punctuation, or ASCII punctuation
bn = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
flag(9, [c for c in CPS if bn.normalize_str(chr(c)) == ""])                               # deleted by clean_text
bs = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
NFD, NFC, NFKD, NFKC = normalizers.NFD(), normalizers.NFC(), normalizers.NFKD(), normalizers.NFKC()
flag(10, [c for c in CPS if bs.normalize_str(chr(c)) == "" and NFD.normalize_str(chr(c)) == chr(c)]) # is_mark_nonspacing
flag(11, [c for c in CPS if normalizers.StripAccents().normalize_str(chr(c)) == ""])    # is_combining_mark
sp = {c for c in CPS if bn.normalize_str(chr(c)) == " " and c != 32}
flag(12, sp)                                          # becomes a space in clean_text

# Decompositions (full, as NFD and NFKD give them), without Hangul.
canon, compat, lower = {}, {}, {}
low = normalizers.Lowercase()
for c in CPS:
    if 0xAC00 <= c <= 0xD7A3: continue
    s = chr(c)
    d = NFD.normalize_str(s)
    if d != s: canon[c] = d
    k = NFKD.normalize_str(s)
    if k != d: compat[c] = k
    l = low.normalize_str(s)
    if l != s: lower[c] = l

# Combining classes: the order of two marks tells which class is greater. REPS has one mark per class.
REPS = {}
for c in CPS:
    k = unicodedata.combining(chr(c))
    if k and c not in canon and unicodedata.normalize("NFD", chr(c)) == chr(c): REPS.setdefault(k, []).append(c)
def swaps(a, b):
    return a != b and NFD.normalize_str("a" + chr(a) + chr(b)) == "a" + chr(b) + chr(a)
# A representative must be known to the reference: it moves against U+0301 (230) or U+0334 (1).
reps = {}
for k, l in REPS.items():
    for c in l:
        if (k > 1 and swaps(c, 0x334)) or (k == 1 and swaps(0x301, c)):
            reps[k] = c
            break
order = sorted(reps)
for i, k in enumerate(order):                          # the classes order as Unicode says
    for j in order[i+1:]: assert swaps(reps[j], reps[k]) and not swaps(reps[k], reps[j]), (k, j)
ccc = [0] * 0x110000
for c in CPS:
    if c in canon or 0xAC00 <= c <= 0xD7A3: continue
    if not (swaps(reps[order[-1]], c) or swaps(c, reps[1])): continue
    le = [k for k in order if not swaps(reps[k], c)]   # classes <= that of c
    ge = [k for k in order if not swaps(c, reps[k])]
    both = [k for k in le if k in ge]
    assert len(both) == 1, (hex(c), both)
    ccc[c] = both[0]

# Primary composites: a canonical pair that NFC puts together again.
def pairs():
    for c, d in canon.items():
        if NFC.normalize_str(chr(c)) != chr(c): continue      # excluded or singleton
        first = "".join(NFC.normalize_str(d[:-1]))
        if len(first) == 1 and NFC.normalize_str(first + d[-1]) == chr(c): yield ord(first), ord(d[-1]), c
compose = sorted(set(pairs()))

# Scripts: as the UnicodeScripts pre-tokenizer sees them (Hiragana and Katakana count as Han there).
SCRIPTS = """Common Latin Greek Cyrillic Armenian Hebrew Arabic Syriac Thaana Devanagari Bengali Gurmukhi Gujarati Oriya
Tamil Telugu Kannada Malayalam Sinhala Thai Lao Tibetan Myanmar Georgian Hangul Ethiopic Cherokee Canadian_Aboriginal Ogham
Runic Khmer Mongolian Hiragana Katakana Bopomofo Han Yi Old_Italic Gothic Deseret Inherited Tagalog Hanunoo Buhid Tagbanwa
Limbu Tai_Le Linear_B Ugaritic Shavian Osmanya Cypriot Braille Buginese Coptic New_Tai_Lue Glagolitic Tifinagh Syloti_Nagri
Old_Persian Kharoshthi Balinese Cuneiform Phoenician Phags_Pa Nko Sundanese Lepcha Ol_Chiki Vai Saurashtra Kayah_Li Rejang
Lycian Carian Lydian Cham Tai_Tham Tai_Viet Avestan Egyptian_Hieroglyphs Samaritan Lisu Bamum Javanese Meetei_Mayek
Imperial_Aramaic Old_South_Arabian Inscriptional_Parthian Inscriptional_Pahlavi Old_Turkic Kaithi Batak Brahmi Mandaic
Chakma Meroitic_Cursive Meroitic_Hieroglyphs Miao Sharada Sora_Sompeng Takri""".split()
script = [0] * 0x110000
for i, name in enumerate(SCRIPTS, 1):
    for c in members(r"\p{%s}" % name): script[c] = i
# UnicodeScripts cuts between two characters of different scripts; one known character of each group tells.
groups = [0] * 0x110000
def cut_with(r, cps):
    """Those of cps that UnicodeScripts cuts off from character r, tested as r c r c ..."""
    s = "".join(chr(r) + chr(c) for c in cps)
    return {cps[a // 2] for _, (a, _) in pt.UnicodeScripts().pre_tokenize_str(s) if a % 2 == 1}
anys = set(CPS)
for r in (0x41, 0x4E00, 0x5D0): anys -= cut_with(r, CPS)   # characters of no script are never cut
scripted = [c for c in CPS if c not in anys]
starts = [scripted[a] for _, (a, _) in pt.UnicodeScripts().pre_tokenize_str("".join(map(chr, scripted)))]
left, gid, group_of = list(starts), 0, {}
while left:
    gid += 1
    away = cut_with(left[0], left[1:])
    for c in left:
        if c not in away: group_of[c] = gid
    left = [c for c in left if c in away]
    if gid > 250: raise SystemExit("too many script groups")
begin, now = set(starts), 0
for c in scripted:
    if c in begin: now = group_of[c]
    groups[c] = now
print("script groups", gid, "any", len(anys))

def varint(n):
    out = bytearray()
    while n >= 0x80: out.append(n & 0x7F | 0x80); n >>= 7
    out.append(n); return bytes(out)

records, index, runs, last = [], {}, [], None
for c in range(0x110000):
    r = (cat[c], FLAGS[c], ccc[c], script[c], groups[c])
    if r not in index: index[r] = len(records); records.append(r)
    i = index[r]
    if runs and runs[-1][1] == i: runs[-1][0] += 1
    else: runs.append([1, i])
out = bytearray(b"KRUNI1\n")
out += varint(len(records))
for r in records:
    for v in r: out += varint(v)
out += varint(len(runs))
for n, i in runs: out += varint(n) + varint(i)
for table in (canon, compat, lower):
    out += varint(len(table)); prev = 0
    for c in sorted(table):
        out += varint(c - prev) + varint(len(table[c])) + b"".join(varint(ord(x)) for x in table[c]); prev = c
out += varint(len(compose))
for a, b, c in compose: out += varint(a) + varint(b) + varint(c)
out += varint(len(SCRIPTS))
for name in SCRIPTS: out += varint(len(name)) + name.encode()
open(sys.argv[1], "wb").write(out)
print(len(records), "records", len(runs), "runs", len(canon), "canonical", len(compat), "compatible", len(lower), "lower",
      len(compose), "composites", len(out), "bytes")
