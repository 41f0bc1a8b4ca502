"""Renders templates with transformers and writes what tests compare with, one JSON object a line.

python make_probes.py probes > probes.jsonl           the committed probes: written by hand, then generated from a fixed seed
python make_probes.py fuzz SEED N > f.jsonl           N generated templates
python make_probes.py released DIR... > r.jsonl       every *.jinja below DIR with many shapes of messages

Versions: transformers 5.23.0, Jinja2 3.1.6, Python 3.11.
"""

import datetime as dt
import json
import pathlib
import random
import sys

import transformers.utils.chat_template_utils as ctu


class Clock(dt.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2025, 3, 9, 14, 5, 7, 123456)


ctu.datetime = Clock

MESSAGES = [
    {"role": "user", "content": "Zürich <a> & 'q' \"d\"\n"},
    {"role": "assistant", "content": None, "z": 1, "a": [1, 2.5, True, None, "x"], "f": 1e20, "d": {"k": "v", "b": []}},
    {"role": "tool", "content": "  multi\nline \u2028 text\t", "name": "été", "n": -7, "big": 2**70, "e": "", "o": {"1": 1, "items": 2}},
]


def render(template, messages, tools=None, add_generation_prompt=True, **kwargs):
    chat = [{k: v for k, v in m.items() if v is not None} for m in messages]
    out, _ = ctu.render_jinja_template(
        conversations=[chat], tools=tools, chat_template=template, add_generation_prompt=add_generation_prompt, **kwargs
    )
    return out[0]


def case(template, messages=MESSAGES, **rest):
    kwargs = rest.get("kwargs") or {}
    extra = {k: rest[k] for k in ("tools", "add_generation_prompt") if k in rest}
    row = {"template": template, "messages": messages, **rest}
    tok = {"bos_token": "<s>", "eos_token": "</s>"}
    row.update(tok)
    try:
        text = render(template, messages, **extra, **{**tok, **kwargs})
        text.encode()
        row["rendered"] = text
    except Exception as e:
        row["error"] = f"{type(e).__name__}: {str(e)[:200]}"
    return row


ATOMS = [
    "0", "1", "-1", "2", "3", "7", "10", "2.5", "0.0", "-0.5", "1e3", "1e16", "123456789012345678901", "true", "false", "none", "nope",
    "''", "'a'", "'abc'", "'Zürich'", "' x '", "'a,b,c'", "'<b>&'", "'A b-c'", "'1'", "'-3'", "'2.5'", "'%s'", "'{}'", "'ß'", "'日本語'", "'a\\nb'", "'\\t'",
    "[]", "[1,2,3]", "['b','A','c']", "[[1,2],[3,4]]", "[none,1]", "(1,2)", "()", "('x',)", "{}", "{'a':1,'b':[2]}", "{'k':'v','K':'w'}", "range(4)", "range(3,0,-1)",
    "messages", "messages[0]", "messages[1]", "messages[2]", "messages[1].a", "messages[1].d", "messages[0].content", "messages[2].content", "messages[1].f",
    "messages[2].n", "messages[2].big", "messages[2].o", "messages[-1].name", "messages[0].nope", "x", "y", "ns", "ns.v", "('<i>'|safe)", "bos_token",
]
BIN = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
FILTERS = [
    "abs", "capitalize", "center(9)", "count", "default('D')", "default('D', true)", "dictsort", "dictsort(false,'value')", "e", "escape", "filesizeformat", "first",
    "float", "forceescape", "format('p')", "groupby('role')", "indent", "indent(2,true)", "indent('>', blank=true)", "int", "int(9)", "int(0,16)", "items", "items|list",
    "join", "join(',')", "join('-', attribute='role')", "last", "length", "list", "lower", "map('upper')|list", "map(attribute='role')|list", "map('string')|join",
    "map(attribute='a', default=0)|list", "max", "min", "reject('none')|list", "rejectattr('content')|list|length", "replace('a','b')", "replace('', '-')", "reverse", "reverse|list",
    "round", "round(1)", "round(1,'ceil')", "round(-1)", "safe", "select|list", "select('string')|list", "selectattr('role','equalto','user')|list|length", "slice(2)|list", "sort",
    "sort(reverse=true)", "sort(case_sensitive=true)", "string", "striptags", "sum", "title", "tojson", "tojson(indent=2)", "tojson(ensure_ascii=true)", "tojson(sort_keys=true)",
    "trim", "trim('a')", "truncate(4)", "truncate(3,true,'',0)", "unique|list", "upper", "urlencode", "wordcount", "wordwrap(4)", "xmlattr", "batch(2)|list", "batch(2,'f')|list", "attr('upper')",
    "nofilter", "sort(attribute='role')|map(attribute='role')|list", "max(attribute='role')", "sum(start=1)", "unique(case_sensitive=true)|list", "string|length",
]
TESTS = [
    "boolean", "callable", "defined", "undefined", "divisibleby(2)", "divisibleby 3", "eq 1", "equalto 'a'", "escaped", "even", "odd", "false", "true", "float", "integer",
    "number", "ge 1", "gt(0)", "lt 5", "le 2", "ne 1", "in [1,2,'a']", "in 'abc'", "iterable", "lower", "upper", "mapping", "none", "not none", "sameas none", "sequence", "string", "notest",
    "filter", "test", "not string",
]
METHODS = [
    "upper()", "lower()", "title()", "capitalize()", "swapcase()", "casefold()", "strip()", "strip('a ')", "lstrip()", "rstrip('\\n')", "split()", "split(',')", "split(',',1)", "split(none, 1)",
    "rsplit(',',1)", "rsplit(maxsplit=1)", "splitlines()", "splitlines(true)", "partition(',')", "rpartition('b')", "replace('a','xx')", "replace('', '.', 2)", "replace('b','',1)", "find('b')",
    "rfind('b')", "index('b')", "find('b', 1)", "find('c', -1, 9)", "count('a')", "count('')", "startswith('a')", "endswith(('c',' '))", "startswith('b', 1)", "join(['x','y'])", "join('xy')",
    "zfill(5)", "ljust(5,'*')", "rjust(5)", "center(6,'-')", "isdigit()", "isalpha()", "isalnum()", "isspace()", "isupper()", "islower()", "istitle()", "isnumeric()", "isdecimal()",
    "isidentifier()", "isascii()", "isprintable()", "removeprefix('a')", "removesuffix('c')", "expandtabs(4)", "format(1, k=2)", "format('z')", "get('a')", "get('zz', 5)", "items()", "items()|list",
    "keys()|list", "values()|list", "keys()", "copy()", "pop()", "append(1)", "update({})", "index(2)", "count(1)", "__class__", "_x", "nope", "nope()", "clear", "role", "content", "real", "is_integer()",
    "bit_length()", "start", "foo.bar", "setdefault('a')", "insert", "format_map({'a':1})",
]
SUBS = ["[0]", "[-1]", "[5]", "['a']", "['role']", "[1:]", "[:-1]", "[::-1]", "[1:3]", "[::2]", "[-2:]", "[none]", "[1.0]", "['upper']", "[true]", "[:99]", "[5:1]", "[0,1]"]


class Gen:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def expr(self, d=0):
        r = self.r
        k = r.random()
        if d > 3 or k < 0.22:
            return r.choice(ATOMS)
        if k < 0.38:
            return f"{self.expr(d+1)} {r.choice(BIN)} {self.expr(d+1)}"
        if k < 0.60:
            return f"{self.paren(d)}|{r.choice(FILTERS)}"
        if k < 0.72:
            return f"{self.paren(d)}.{r.choice(METHODS)}"
        if k < 0.80:
            return f"{self.paren(d)}{r.choice(SUBS)}"
        if k < 0.88:
            return f"{self.paren(d)} is {r.choice(TESTS)}"
        if k < 0.92:
            return f"({self.expr(d+1)} if {self.expr(d+1)} else {self.expr(d+1)})"
        if k < 0.95:
            return f"not {self.paren(d)}"
        if k < 0.97:
            return f"-{self.paren(d)}"
        return f"'{r.choice(['%d', '%5.2f|', '%s', '%r', '%x', '%-4s|', '%03d', '%c', '%%', '%e', '%g', '%+d'])}' % {self.paren(d)}"

    def paren(self, d):
        e = self.expr(d + 1)
        return e if e[0] not in "-n'" and " " not in e else f"({e})"

    def body(self, d=0):
        r = self.r
        return "".join(self.stmt(d) for _ in range(r.randint(1, 3)))

    def ws(self):
        return self.r.choice(["", "", "", "\n", "  ", "\n  ", " \n"])

    def tag(self, s):
        o, c = self.r.choice(["", "", "-", "+"]), self.r.choice(["", "", "-", "+"])
        return f"{{%{o} {s} {c}%}}{self.ws()}"

    def stmt(self, d):
        r = self.r
        k = r.random()
        if d > 2 or k < 0.35:
            o, c = r.choice(["", "", "-"]), r.choice(["", "", "-"])
            return f"{self.ws()}{{{{{o} {self.expr(1)} {c}}}}}{self.ws()}"
        if k < 0.45:
            return self.tag(f"set {r.choice(['x', 'y', 'ns.v', 'x, y'])} = {self.expr(1)}")
        if k < 0.60:
            t = self.tag(f"if {self.expr(1)}") + self.body(d + 1)
            if r.random() < 0.3:
                t += self.tag(f"elif {self.expr(1)}") + self.body(d + 1)
            if r.random() < 0.5:
                t += self.tag("else") + self.body(d + 1)
            return t + self.tag("endif")
        if k < 0.80:
            cond = f" if {self.expr(2)}" if r.random() < 0.25 else ""
            t = self.tag(f"for {r.choice(['x', 'y', 'm', 'k, v', 'x, (y, m)'])} in {self.expr(1)}{cond}")
            if r.random() < 0.5:
                t += "{{ loop." + r.choice(["index", "last", "first", "revindex", "length", "previtem", "nextitem", "index0", "depth", "changed(x)", "cycle('a','b')"]) + " }}"
            t += self.body(d + 1)
            if r.random() < 0.15:
                t += self.tag(f"if {self.expr(2)}") + self.tag(r.choice(["break", "continue"])) + self.tag("endif") + "."
            if r.random() < 0.2:
                t += self.tag("else") + self.body(d + 1)
            return t + self.tag("endfor")
        if k < 0.86:
            return self.tag("macro f(a, b='B')") + "[{{ a }}{{ b }}" + r.choice(["", "{{ varargs }}", "{{ kwargs }}", "{{ caller() if caller }}", "{{ x }}"]) + "]" + self.tag("endmacro") + r.choice(
                ["{{ f(1) }}", "{{ f(a=x) }}", "{{ f(1,2,3) }}", "{{ f(1,z=3) }}", "{% call f(9) %}c{% endcall %}", "{{ f() }}", "{{ f }}"])
        if k < 0.90:
            return self.tag(f"set {r.choice(['x', 'y'])}{r.choice(['', ' | upper', ' | trim'])}") + self.body(d + 1) + self.tag("endset")
        if k < 0.94:
            return self.tag(f"with x = {self.expr(2)}") + self.body(d + 1) + self.tag("endwith")
        if k < 0.97:
            return self.tag(f"filter {r.choice(['upper', 'trim', 'indent(2)', 'replace(1,2)', 'length'])}") + self.body(d + 1) + self.tag("endfilter")
        return r.choice(["{# c #}", "{% raw %}{{ r }}{% endraw %}", "{%- generation %}g{% endgeneration -%}", "text\n", "  {#- c -#}  "])

    def template(self):
        return "{% set ns = namespace(v=1) %}" + self.body()


def shapes():
    tool = {"type": "function", "function": {"name": "get_weather", "description": "Weather in a \"city\" & <area>", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "description": "北京 or\nZürich"}, "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
                                         "days": {"type": ["integer", "null"], "minimum": 1}, "tags": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "number"}}}}},
        "required": ["city"]}, "return": {"type": "string"}}}
    tool2 = {"type": "function", "function": {"name": "noop", "description": "Nothing", "parameters": {"type": "object", "properties": {}}}}
    sys_, usr, ast = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi <b> & '\"' 北京\n"}, {"role": "assistant", "content": "Hello!"}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "北京", "days": 3, "f": 1.5, "n": None, "l": [True]}}}]}
    call_s = {"role": "assistant", "content": "Let me see.", "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"北京\"}"}},
                                                                            {"id": "123456789", "type": "function", "function": {"name": "noop", "arguments": "{}"}}]}
    res = {"role": "tool", "content": "{\"t\": 21.5}", "tool_call_id": "call00001", "name": "get_weather"}
    res2 = {"role": "tool", "content": [{"type": "text", "text": "ok"}], "tool_call_id": "123456789", "name": "noop"}
    parts = {"role": "user", "content": [{"type": "text", "text": " What is "}, {"type": "image"}, {"type": "text", "text": "this?"}]}
    think = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nDone.", "z": 0}
    reason = {"role": "assistant", "content": "Done.", "reasoning_content": " because\n"}
    dev = {"role": "developer", "content": "dev"}
    chats = {
        "one": [usr], "sys": [sys_, usr], "turns": [sys_, usr, ast, usr], "noasst": [usr, ast], "two users": [usr, usr], "late sys": [usr, sys_, usr], "only sys": [sys_], "starts asst": [ast, usr],
        "call": [usr, call, {**res, "tool_call_id": "call00001"}], "call2": [sys_, usr, call_s, {**res, "tool_call_id": "abcdefghi"}, res2, ast, usr], "parts": [sys_, parts], "think": [usr, think, usr], "reason": [usr, reason, usr],
        "reason last": [usr, reason], "dev": [dev, usr], "empty": [{"role": "user", "content": ""}], "missing": [{"role": "user"}], "norole": [{"content": "x"}], "odd role": [usr, {"role": "ipython", "content": "o"}, usr],
        "sys parts": [{"role": "system", "content": [{"type": "text", "text": "S"}]}, usr], "reason call": [usr, {**call, "reasoning_content": "why"}, res, usr], "int content": [{"role": "user", "content": 5}],
        "calls empty": [usr, {**ast, "tool_calls": []}, usr], "thinking": [usr, {**ast, "thinking": "t"}, usr],
    }
    for name, chat in chats.items():
        yield name, {"messages": chat}
        yield name + " tools", {"messages": chat, "tools": [tool, tool2]}
    for kw in ({"enable_thinking": False}, {"enable_thinking": True}, {"reasoning_effort": "high"}, {"thinking": True}, {"builtin_tools": ["browser", "python"]}, {"date_string": "1 Jan"}, {"custom_tools": [tool]},
               {"documents": [{"title": "T", "text": "x"}]}, {"keep_past_thinking": True}, {"tools_in_user_message": False}, {"model_identity": "You are X."}):
        yield f"kw {kw}", {"messages": chats["call2"], "tools": [tool], "kwargs": kw}
        yield f"kwnt {kw}", {"messages": chats["turns"], "kwargs": kw, "add_generation_prompt": False}


def main():
    mode = sys.argv[1]
    rows = []
    if mode == "probes":
        here = pathlib.Path(__file__).parent
        for block in (here / "probes.txt").read_text().split("\n====\n"):
            if block.strip():
                rows.append(case(block))
        g = Gen(20250309)
        kept = 0
        while kept < 400:
            row = case(g.template())
            size = len(row.get("rendered", ""))
            if size < 1500 and (size > 0 or kept % 4 == 0) and " at 0x" not in row.get("rendered", ""):
                rows.append(row)
                kept += 1
        rows = [{k: v for k, v in r.items() if k != "messages" or v is not MESSAGES} for r in rows]
        rows[0]["messages"] = MESSAGES
    elif mode == "fuzz":
        g = Gen(int(sys.argv[2]))
        for _ in range(int(sys.argv[3])):
            rows.append(case(g.template()))
    elif mode == "released":
        for d in sys.argv[2:]:
            for p in sorted(pathlib.Path(d).rglob("*.jinja")):
                for name, s in shapes():
                    rows.append({"name": f"{p.name} / {name}", **case(p.read_text(), **s)})
    for r in rows:
        print(json.dumps(r, ensure_ascii=False))


main()
