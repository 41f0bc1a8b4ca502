"""Writes the soak test's corpus, one file for each kind of text.

usage: python3 soak_corpus.py UNPACKED_PACKAGES OUT
"""
import glob, gzip, html, os, random, re, subprocess, sys

src, out = sys.argv[1], sys.argv[2]
rnd = random.Random(1)
MB = 1 << 20

def read(path):
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
            b = f.read(4 * MB)
    except OSError:
        return ""
    for enc in ("utf-8", "cp1251" if "ru" in path else "latin-1"):
        try:
            return b.decode(enc)
        except UnicodeDecodeError:
            continue
    return ""

def strip(s):
    s = re.sub(r"(?s)<(script|style).*?</\1>", "", s)
    return re.sub(r"\n\s*\n+", "\n\n", html.unescape(re.sub(r"<[^>]+>", "", s)))

def mo(path):
    """The strings of a compiled message catalogue, which are UTF-8 separated by zero bytes."""
    return "\n".join(x for x in read(path).split("\0") if x.isprintable() or "\n" in x)

def package(*names):
    return [os.path.join(src, n) for n in names]

def walk(*roots):
    for r in roots:
        for d, _, fs in os.walk(r):
            for f in fs:
                yield os.path.join(d, f)

def write(name, limit, files, text=read):
    files = sorted(set(files))
    rnd.shuffle(files)
    n = 0
    with open(os.path.join(out, name + ".txt"), "wb") as f:
        for p in files:
            if n >= limit:
                break
            s = text(p).encode("utf-8", "replace")[:limit - n + 1000]
            f.write(s.decode("utf-8", "ignore").encode() + b"\n")
            n += len(s)
    print(f"{name:10} {n / 1e6:6.1f} MB", file=sys.stderr)

def by(ext, *roots):
    return [p for p in walk(*roots) if p.endswith(ext)]

goroot = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True).stdout.strip()
write("go", 25 * MB, by((".go", ".s"), goroot + "/src"))
write("rust", 15 * MB, by(".rs", *package("rust-src")))
write("python", 15 * MB, by(".py", *glob.glob("/usr/lib/python3*")))
write("c", 8 * MB, by((".h", ".hpp"), "/usr/include"))
write("js", 10 * MB, by((".js", ".ts"), *package("node-typescript")))
write("json", 18 * MB, by(".json", src, "/usr/share", "/usr/lib") + glob.glob(".testdata/tok/qwen3/*.json"))
write("xml", 16 * MB, by(".xml", *package("unicode-cldr-core")))
def doc(*langs):
    return [p for p in walk(*package(*langs)) if not p.endswith((".png", ".svg", ".css", ".gif", ".pdf", ".woff2", ".js", ".jpg", ".db"))]
def prose(p):
    s = mo(p) if p.endswith(".mo") else read(p)
    return strip(s) if "<html" in s[:2000].lower() or p.endswith(".xml") else s
cldr = lambda *l: [p for p in by(".xml", *package("unicode-cldr-core")) if re.search(r"/(%s)(_\w+)?\.xml$" % "|".join(l), p)]
catalogs = lambda *l: [p for p in by(".mo", src) if re.search(r"/(%s)(_\w+)?/LC_MESSAGES" % "|".join(l), p)]
write("zh", 20 * MB, doc("libreoffice-help-zh-cn", "libreoffice-help-zh-tw", "manpages-zh", "debian-reference-zh-cn", "debian-reference-zh-tw", "debian-faq-zh-cn", "fortunes-zh",
      "maint-guide-zh-cn"), prose)
write("ja", 20 * MB, doc("libreoffice-help-ja", "manpages-ja", "manpages-ja-dev", "debian-reference-ja", "aptitude-doc-ja", "debian-faq-ja", "maint-guide-ja"), prose)
write("ko", 14 * MB, doc("libreoffice-help-ko", "hunspell-ko", "debian-faq-ko") + cldr("ko"), prose)
write("ru", 20 * MB, doc("libreoffice-help-ru", "manpages-ru", "manpages-ru-dev", "manpages-uk", "aptitude-doc-ru", "debian-faq-ru", "fortunes-ru", "maint-guide-ru", "manpages-sr", "hunspell-ru"), prose)
write("ar", 14 * MB, doc("hunspell-ar", "libreoffice-l10n-ar", "hunspell-he") + cldr("ar", "fa", "ur", "he", "ps", "ckb", "yi", "ug", "sd") + catalogs("ar", "fa", "ur", "he", "ps", "ckb", "ug"), prose)
write("indic", 14 * MB, doc("libreoffice-help-hi", "libreoffice-help-km", "hunspell-hi", "hunspell-th") + cldr("hi", "th", "bn", "ta", "te", "ml", "my", "km", "lo", "si", "am", "ka", "hy", "bo") +
      catalogs("hi", "th", "bn", "ta", "te", "ml", "my", "km", "lo", "si", "am", "ka", "hy"), prose)
write("europe", 16 * MB, doc("libreoffice-help-el", "libreoffice-help-de", "manpages-de", "manpages-fr", "manpages-es", "manpages-pl", "manpages-tr", "manpages-vi", "manpages-el",
      "debian-reference-fr", "fortunes-cs", "maint-guide-vi"), prose)
write("en", 14 * MB, doc("libreoffice-help-en-us", "manpages-dev", "debian-reference-en", "bible-kjv-text") + [p for p in walk("/usr/share/doc") if p.endswith((".gz", "copyright", ".txt"))], prose)
