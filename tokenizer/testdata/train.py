"""Trains small tokenizers of every kind with HF tokenizers and sentencepiece, and records what they answer.

usage: python train.py CORPUS_DIR OUT_DIR     (needs tokenizers==0.23.3 and sentencepiece)
CORPUS_DIR holds en.txt, de.txt, ru.txt, zh.txt, ja.txt, go.txt. OUT_DIR/trained gets two files for each tokenizer, itself and NAME.answers, JSON
lines of {"file", "text", "ids", "special", "offsets" (code points, of "special"), "words", "types", "decoded", "skipped", "pair"}.
"""
import gzip, io, json, os, random, sys
from tokenizers import Tokenizer, AddedToken, Regex, models, normalizers as N, pre_tokenizers as P, processors as R, decoders as D, trainers as T

corpus, out = sys.argv[1], sys.argv[2]
os.makedirs(out + "/trained", exist_ok=True)
rnd = random.Random(7)
lines = []
for lang in ("en", "de", "ru", "zh", "ja", "go"):
    text = open(f"{corpus}/{lang}.txt", encoding="utf-8", errors="replace").read(300_000)
    lines += [l for l in text.split("\n") if 5 < len(l) < 400][:700]
rnd.shuffle(lines)
train = lines[:2500]
texts = [l for l in lines[2500:2530]] + [
    "", " ", "a", "Hello, World! It's 12:45 o'clock.", "  two  spaces\tand\ttabs \n\n newline ", "ÀÉÎõü ñ ß İ ı ﬁ ﬀ ｆｕｌｌ ① ² ½",
    "e\u0301a\u0323\u0302 \u1e9b\u0323 Å \u212b 각 \u1100\u1161\u11a8", "中文字符，测试。日本語テスト 한국어", "[CLS] special [SEP] <unk> <s></s> [MASK]x [MASK] end",
    "x[MASK]y  [MASK]  z", "\u0000\u0007\ufffd\u200b\u200d\ufeff ctrl", "👩‍👩‍👧 🇩🇪 👍🏽", "do not can't won't . ! ? , n't", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 4,
    "supercalifragilisticexpialidocious" * 4, "١٢٣ ४५ Ⅷ", "_under_score-dash–dash—dash", "\u2581lower one \u2581\u2581two", "foo</w> bar", "<0x41><0xE4>", "Ġthe Ċ",
    "ABC abc ÄÖÜ ǅ ΑΣ ὈΔΥΣΣΕΎΣ", "\r\n\r\n  \u00a0\u3000\u2003x", "ไทย ภาษา हिन्दी العربية עברית", "a|b|c||d", "1,234.56 100% $5"]
texts += ["".join(chr(rnd.choice([rnd.randrange(32, 127), rnd.randrange(0xa0, 0x250), rnd.randrange(0x300, 0x370), rnd.randrange(0x400, 0x700),
          rnd.randrange(0x900, 0xe80), rnd.randrange(0x2000, 0x2200), rnd.randrange(0x3000, 0x3100), rnd.randrange(0x4e00, 0x9fff), rnd.randrange(0xac00, 0xd7a3),
          rnd.randrange(0xfb00, 0xffff), rnd.randrange(0x1f300, 0x1f700)])) for _ in range(rnd.randrange(1, 60))) for _ in range(60)]

plain = [l for l in train if l.isascii()]
files = {}
def keep(name, data):
    files[name] = data
    with open(f"{out}/trained/{name}.gz", "wb") as f:
        with gzip.GzipFile("", "wb", fileobj=f, mtime=0) as z: z.write(data)

SP = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
made = {}
def make(name, model, trainer, norm=None, pre=None, post=None, dec=None, added=(), patch=None, data=train):
    t = Tokenizer(model)
    if norm: t.normalizer = norm
    if pre: t.pre_tokenizer = pre
    if trainer: t.train_from_iterator(data, trainer)
    if post: t.post_processor = post
    if dec: t.decoder = dec
    if added: t.add_tokens(list(added))
    d = json.loads(t.to_str())
    if patch: patch(d)
    made[name] = d

def bpe(v=600, **k): return T.BpeTrainer(vocab_size=v, special_tokens=SP, show_progress=False, **k)
def wp(v=700, **k): return T.WordPieceTrainer(vocab_size=v, special_tokens=SP, show_progress=False, **k)
def uni(v=600, **k): return T.UnigramTrainer(vocab_size=v, special_tokens=SP, unk_token="[UNK]", show_progress=False, **k)
def wl(v=500): return T.WordLevelTrainer(vocab_size=v, special_tokens=SP, show_progress=False)
alpha = P.ByteLevel.alphabet()
MASK = AddedToken("[MASK]", lstrip=True, special=True)
tmpl = lambda: R.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])

make("bytelevel", models.BPE(), bpe(700, initial_alphabet=alpha), pre=P.ByteLevel(add_prefix_space=True), post=R.ByteLevel(trim_offsets=True), dec=D.ByteLevel())
make("bytelevel_nospace", models.BPE(), bpe(700, initial_alphabet=alpha), norm=N.NFKC(), pre=P.ByteLevel(add_prefix_space=False),
     post=R.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1)), dec=D.ByteLevel(), added=[MASK])
make("bytelevel_missing", models.BPE(), bpe(500), pre=P.ByteLevel(add_prefix_space=False), dec=D.ByteLevel())       # bytes without a piece
make("bytelevel_unk", models.BPE(unk_token="[UNK]"), bpe(500), pre=P.ByteLevel(add_prefix_space=False), dec=D.ByteLevel())
make("bytelevel_norm", models.BPE(), bpe(700, initial_alphabet=alpha), norm=N.Sequence([N.NFC(), N.ByteLevel()]), dec=D.ByteLevel())
make("bpe_suffix", models.BPE(unk_token="[UNK]"), bpe(700, end_of_word_suffix="</w>"), norm=N.BertNormalizer(), pre=P.BertPreTokenizer(), dec=D.BPEDecoder())
make("bpe_prefix", models.BPE(unk_token="[UNK]", fuse_unk=True), bpe(700, continuing_subword_prefix="##"), norm=N.Lowercase(), pre=P.Whitespace(), dec=D.WordPiece(), post=tmpl())
make("bpe_fallback", models.BPE(unk_token="[UNK]", fuse_unk=True, byte_fallback=True), bpe(700), norm=N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]),
     dec=D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]),
     patch=lambda d: [d["model"]["vocab"].setdefault("<0x%02X>" % i, 5000 + i) for i in range(256)])
make("bpe_fallback_part", models.BPE(unk_token="[UNK]", fuse_unk=False, byte_fallback=True), bpe(700), pre=P.Metaspace(prepend_scheme="first"), dec=D.Metaspace(prepend_scheme="first"),
     patch=lambda d: [d["model"]["vocab"].setdefault("<0x%02X>" % i, 5000 + i) for i in range(0x80, 0x100, 3)])
make("bpe_ignore", models.BPE(ignore_merges=True), bpe(700, initial_alphabet=alpha), norm=N.NFD(), pre=P.Sequence([P.Split(Regex(r"\p{N}{1,3}|\s+(?!\S)|[^\s\p{N}]+"), "isolated"),
     P.ByteLevel(add_prefix_space=False, use_regex=False)]), dec=D.ByteLevel())
make("bpe_dropless", models.BPE(unk_token="[UNK]"), bpe(500, limit_alphabet=60), pre=P.CharDelimiterSplit("|"))
make("wordpiece", models.WordPiece(unk_token="[UNK]"), wp(), norm=N.BertNormalizer(), pre=P.BertPreTokenizer(), post=tmpl(), dec=D.WordPiece(), added=[MASK])
make("wordpiece_cased", models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=12), wp(), norm=N.BertNormalizer(lowercase=False, strip_accents=True, handle_chinese_chars=False),
     pre=P.Sequence([P.WhitespaceSplit(), P.Punctuation("merged_with_previous"), P.Digits(True)]), post=R.BertProcessing(("[SEP]", 2), ("[CLS]", 1)), dec=D.WordPiece(cleanup=False))
make("wordlevel", models.WordLevel(unk_token="[UNK]"), wl(), norm=N.Sequence([N.NFKD(), N.StripAccents(), N.Lowercase(), N.Strip()]), pre=P.Whitespace(), post=tmpl())
make("wordlevel_contig", models.WordLevel(unk_token="[UNK]"), wl(), norm=N.Nmt(), pre=P.Sequence([P.Digits(False), P.Punctuation("contiguous"), P.WhitespaceSplit()]))
make("wordlevel_next", models.WordLevel(unk_token="[UNK]"), wl(), norm=N.Replace(Regex(r"\s+"), " "), pre=P.Sequence([P.Split(" ", "merged_with_next"), P.Punctuation("merged_with_next")]), dec=D.CTC(pad_token="[PAD]"))
make("wordlevel_scripts", models.WordLevel(unk_token="[UNK]"), wl(800), pre=P.UnicodeScripts())
make("wordlevel_fixed", models.WordLevel(unk_token="[UNK]"), wl(800), norm=N.Strip(left=True, right=False), pre=P.FixedLength(length=3))
make("wordlevel_regex", models.WordLevel(unk_token="[UNK]"), wl(800), pre=P.Split(Regex(r"(?i:[a-f]+)|(?<!x)y".replace("(?<!x)", "")), "removed", invert=True))
make("unigram", models.Unigram(), uni(), norm=N.NFKC(), pre=P.Metaspace(), post=tmpl(), dec=D.Metaspace(), data=plain)
make("unigram_never", models.Unigram(), uni(), norm=N.Sequence([N.Nmt(), N.NFKC(), N.Replace(Regex(" {2,}"), " ")]), pre=P.Metaspace(prepend_scheme="never", split=False), dec=D.Metaspace(prepend_scheme="never"), data=plain)
def fallback(d):
    d["model"]["byte_fallback"] = True
    d["model"]["vocab"] += [["<0x%02X>" % i, -20.0] for i in range(256)]
make("unigram_fallback", models.Unigram(), uni(500), pre=P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), dec=D.Sequence([D.ByteFallback(), D.Metaspace(), D.Fuse()]), patch=fallback, data=plain)

import base64, sentencepiece as spm
import unicodedata, tempfile
# A normaliser of our own with rules of each kind; the built-in ones are beyond 200 KB.
rules = {}
for lo, hi in ((0, 0x20), (0xa0, 0x100), (0x130, 0x180), (0x1100, 0x1110), (0x2000, 0x2070), (0x2150, 0x2190), (0x3000, 0x3001), (0x3040, 0x30ff), (0xfb00, 0xfb10), (0xff01, 0xff60)):
    for c in range(lo, hi):
        n = unicodedata.normalize("NFKC", chr(c))
        if n != chr(c): rules[chr(c)] = n
        d = unicodedata.normalize("NFD", chr(c))
        if len(d) > 1: rules[d] = chr(c)
rules.update({"\t": " ", "\n": " ", "\r": " ", "\x07": "", "\u200b": " ", "\ufeff": "", "ABC": "alphabet", "the ": "THE "})
tsv = tempfile.NamedTemporaryFile("w", suffix=".tsv", delete=False, encoding="utf-8")
for k, v in rules.items(): tsv.write(" ".join("%X" % ord(x) for x in k) + "\t" + " ".join("%X" % ord(x) for x in v) + "\n")
tsv.close()
western = [l for l in train if max(l) < "\u0500"]
def spm_train(name, **k):
    m = io.BytesIO()
    if "normalization_rule_name" not in k: k["normalization_rule_tsv"] = tsv.name
    spm.SentencePieceTrainer.train(sentence_iterator=iter(western), model_writer=m, minloglevel=2, **k)
    keep(name + ".model", m.getvalue())
spm_train("spm_unigram", vocab_size=900, model_type="unigram", character_coverage=0.99)
spm_train("spm_unigram_bytes", vocab_size=1100, model_type="unigram", byte_fallback=True, character_coverage=0.99, user_defined_symbols=["<tool>", "foo bar", "▁▁"], remove_extra_whitespaces=False)
spm_train("spm_bpe", vocab_size=900, model_type="bpe", character_coverage=0.99)
spm_train("spm_bpe_bytes", vocab_size=1100, model_type="bpe", byte_fallback=True, character_coverage=0.99, user_defined_symbols=["<tool>", "12", "ing"], normalization_rule_name="identity",
          remove_extra_whitespaces=False, add_dummy_prefix=False, split_digits=True)

# A compiled normaliser, taken from a SentencePiece model, in a tokenizer.json.
def field(msg, want):
    """The first length-delimited field of that number in a protocol buffer."""
    i = 0
    def varint():
        nonlocal i
        n = k = 0
        while True:
            c = msg[i]; i += 1
            n |= (c & 127) << k; k += 7
            if c < 128: return n
    while i < len(msg):
        tag = varint()
        if tag & 7 == 0: varint()
        elif tag & 7 == 5: i += 4
        elif tag & 7 == 1: i += 8
        else:
            n = varint()
            if tag >> 3 == want: return msg[i:i+n]
            i += n
charsmap = field(field(files["spm_unigram.model"], 3), 2)
d = json.loads(json.dumps(made["unigram"]))
d["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()},
                   {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
made["unigram_precompiled"] = d
norm_tok = json.loads(json.dumps(made["wordlevel"]))
norm_tok["added_tokens"] += [dict(id=9000 + i, content=c, single_word=s, lstrip=l, rstrip=r, normalized=n, special=p) for i, (c, s, l, r, n, p) in enumerate([
    ("Hello", True, False, False, True, False), ("clock", False, True, True, True, False), ("Zwei", True, False, False, False, True), ("the", True, True, False, True, False),
    ("end", False, False, True, False, True)])]
made["wordlevel_added"] = norm_tok

answers = {}
def put(o): answers.setdefault(o["file"], []).append(json.dumps(o, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
for name, d in made.items():
    text = json.dumps(d, ensure_ascii=False, separators=(",", ":"))
    keep(name + ".json", text.encode())
    t = Tokenizer.from_str(text)
    for s in texts:
        e, p = t.encode(s), t.encode(s, add_special_tokens=False)
        try: dec, skp = t.decode(p.ids, skip_special_tokens=False), t.decode(p.ids)
        except BaseException: dec = skp = None    # the reference panics on empty lists in places
        pair = t.encode(s, texts[(texts.index(s) + 3) % len(texts)])
        put(dict(file=name + ".json", text=s, ids=p.ids, special=e.ids, offsets=[x for o in e.offsets for x in o], words=[-1 if w is None else w for w in e.word_ids], types=e.type_ids,
                 decoded=dec, skipped=skp, pair=pair.ids))
for name in sorted(files):
    if name.endswith(".model"):
        sp = spm.SentencePieceProcessor(model_proto=files[name])
        for s in texts:
            if "\0" in s: continue
            ids = sp.encode(s)
            put(dict(file=name, text=s, ids=ids, decoded=sp.decode(ids)))
for name, l in answers.items(): keep(name + ".answers", b"".join(l))
