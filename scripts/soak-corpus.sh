#!/usr/bin/env bash
# Builds .testdata/soak/text, the corpus of `make tokenizer-soak`: code, JSON, XML, and prose in many scripts, from Debian packages
# (downloaded, not installed) and from what the machine has installed. About 230 MB.
set -euo pipefail
cd "$(dirname "$0")/.."
D=.testdata/soak
[ -f $D/text/done ] && exit 0
mkdir -p $D/deb $D/x $D/text
(cd $D/deb; for p in libreoffice-help-{ja,ko,zh-cn,zh-tw,ru,hi,km,el,en-us,de} hunspell-{ar,he,hi,th,ko,ru} libreoffice-l10n-ar iso-codes \
  unicode-cldr-core node-typescript rust-src manpages-{ja,ja-dev,ru,ru-dev,uk,zh,de,fr,es,pl,tr,vi,dev,el,sr} \
  debian-reference-{ja,zh-cn,zh-tw,en,fr} aptitude-doc-{ja,ru} debian-faq-{ja,ru,ko,zh-cn} fortunes-{zh,ru,cs} \
  maint-guide-{ja,ru,vi,zh-cn} bible-kjv-text; do
  ls ${p}_*.deb >/dev/null 2>&1 || echo "$p"
done | xargs -r apt-get download -qq 2>/dev/null)
for f in $D/deb/*.deb; do
  p=$(basename "${f%%_*}")
  [ -d $D/x/$p ] || dpkg-deb -x "$f" $D/x/$p
done
python3 scripts/soak_corpus.py $D/x $D/text
touch $D/text/done
