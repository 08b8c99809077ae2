"""Writes jinja_cases.json and request_cases.json: what Jinja2 (the Python library), set up as transformers sets it up,
makes of each case.

Run: python3 make_jinja_cases.py    (needs jinja2 3.1)
"""
import json, pathlib, sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "tools/chat-templates"))
from transformers_jinja import environment, tojson


def run(source, variables):
    try:
        return {"text": environment().from_string(source).render(**variables)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


USER = {"role": "user", "content": "Hi there"}
CHAT = [{"role": "system", "content": "  Be brief. "}, USER, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello!"},
        {"role": "user", "content": "Grüße, 日本 \"q\" <b> 'x' {{ no }}\n"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Get <the> weather's \"state\"",
          "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1.0}},
                         "required": ["city"]}}}]
TOOL_CHAT = [USER, {"role": "assistant", "content": "", "tool_calls": [
    {"type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 2, "zoo": None}}}]},
    {"role": "tool", "content": "{\"t\": 3}"}, {"role": "tool", "content": "snow"}]
TWO_CALLS = [USER, {"role": "assistant", "content": "x", "tool_calls": TOOL_CHAT[1]["tool_calls"] * 2}, USER]
CHATS = {"plain": [USER], "chat": CHAT, "tools": TOOL_CHAT, "two_calls": TWO_CALLS, "ends_with_assistant": CHAT[:3],
         "two_users": [USER, USER], "unknown_role": [{"role": "narrator", "content": "..."}],
         "parts": [{"role": "user", "content": [{"type": "text", "text": "a'b"}, {"type": "text", "text": "n"}]}], "none": []}

VARIABLES = {"a": 1, "b": 2, "f": 2.5, "s": "Hello World", "u": "äöü ß 日本語", "e": "", "n": None, "t": True, "l": [3, 1, 2],
             "words": ["b", "A", "c"], "d": {"x": 1, "y": [1, "two", None, True, 2.0], "items": "shadow"},
             "people": [{"name": "Ann", "age": 3}, {"name": "bob", "age": 1}, {"name": "Cy"}],
             "w": " \t padded \n", "q": "it's \"q\" \\ \n\té"}

# Expressions, each rendered as "{{ EXPRESSION }}".
EXPRESSIONS = r"""
1 + 2 * 3 ** 2
2 ** 3 ** 2
-2 ** 2
7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 / 2, 4 / 2
7.5 // 2
1e16, 1e15, 0.0001, 0.00001, 1.0, 2.50, 1_000
'a' ~ 1 ~ none ~ true ~ 2.0
'ab' * 3
3 * 'ab'
'a' + 1
[1] + [2, 'x']
s[0], s[-1], s[1:3], s[::-1], s[:-1], s[-3:], s[10:2], s[::2], s[5:1:-2]
u[0], u[-1], u[4:], u | length, 'äö' | upper, u[::-1]
l[5], l[-1], l[1:], l[::-1], l[:1]
l[-9:9], l[9:-9:-1], l[::3]
s[100]
l[100] is defined
missing
missing is defined, missing is undefined, missing | default('dflt'), e | default('x'), e | default('x', true)
missing.foo
missing['foo']
n.foo is defined
none.foo.bar
d.x, d['x'], d.nope is defined, d.items is callable, d['items']
d.y, d
d.items() | list
d.get('x'), d.get('z'), d.get('z', 5), d.keys() | list, d.values() | list
'x' in d, 'z' not in d, 2 in l, 'ell' in s, 'z' in missing
not 'x' in d
1 < 2 < 3, 1 < 3 < 2, 1 == 1.0, 'a' < 'b', true == 1, [1,2] == [1,2], {'a':1} == {'a':1.0}
'a' < 1
1 if t, 2 if not t
1 if t else 2
'a' if e else 'b' if n else 'c'
t and e, e or 'x', n or e or 0, not t, not not t
a is odd, b is even, 9 is divisibleby 3, 9 is divisibleby(2), a is not odd
n is none, n is not none, s is string, l is iterable, d is mapping, l is mapping, s is sequence, a is number, t is number
a is integer, f is float, t is boolean, t is true, t is false, a is true, t is integer
a is eq 1, a is ne(2), a is in l, a is sameas 1, b is gt 1
missing is none, none is defined, l is defined and l
s | upper | lower, s | capitalize, 'hello wORLD foo-bar' | title, s | length, s | count
w | trim, 'xxaxx' | trim('x'), w.strip(), w.lstrip(), w.rstrip() ~ '|'
'--a-b--'.strip('-'), '\n\nx\n'.lstrip('\n'), 'abcba'.strip('ab')
'a,b,,c'.split(','), ' a  b '.split(), 'a b c'.split(' ', 1), 'a-b-c'.rsplit('-', 1), 'abc'.split('z')
'a b  c '.split(none, 1)
''.split(), ''.split(',')
'a\nb\r\nc\n'.splitlines()
s.startswith('He'), s.endswith(('x', 'ld')), s.find('o'), s.rfind('o'), s.find('zz'), u.find('日'), s.count('l')
s.replace('l', 'L'), s.replace('l', 'L', 1), s | replace('o', '0'), 'aaa'.replace('', '-')
s.upper(), s.lower(), 'x y'.title(), 'éa'.capitalize(), '12'.isdigit(), ' '.isspace()
s.removeprefix('Hello'), s.removesuffix('World')
', '.join(words), words | join('-'), words | join, l | join(','), people | join(';', attribute='name')
l | first, l | last, [] | first is defined, s | first, l | reverse | list, 'abc' | reverse
l | sort, l | sort(reverse=true), words | sort, words | sort(case_sensitive=true)
people | selectattr('age') | map(attribute='name') | list
people | selectattr('age', 'defined') | list | length
people | rejectattr('name', 'equalto', 'bob') | map(attribute='name') | join(',')
people[:2] | sort(attribute='age') | map(attribute='name') | list
people | map(attribute='age', default=0) | list
people | map(attribute='age', default=0) | sum
[1,2,3,4] | select('odd') | list, [1,2,3,4] | reject('odd') | list, [0,1,''] | select | list
words | map('upper') | list, words | map('replace', 'A', 'Z') | list
l | sum, l | min, l | max, words | min, [1, 1, 2, 'a', 'A'] | unique | list
people | sum(attribute='missing')
d | items | list, missing | items | list
d | dictsort
l | list, s[:3] | list, d | list, missing | list, d | length
'3' | int, '3.7' | int, 'x' | int, 'x' | int(7), 3.9 | int, '2.5' | float, 'x' | float, none | int
-3 | abs, -2.5 | abs, 2.567 | round(2), 2.5 | round, 3.5 | round, 2.1 | round(0, 'ceil')
'<a&"b\'>' | escape ~ '' ~ ('<x>' | safe) ~ '<x>'
d | tojson
d | tojson(indent=2)
q | tojson, u | tojson, u | tojson(ensure_ascii=true), '😀' | tojson(ensure_ascii=true)
[] | tojson(indent=2), {} | tojson, [[], {}] | tojson(indent=1), [1, [2]] | tojson(indent=2)
{'b': 1, 'a': [1.5, none, true]} | tojson(sort_keys=true), {'a': 1, 'b': 2} | tojson(separators=(',', ':'))
missing | tojson
1.0 | tojson, 1e20 | tojson, 100000 | tojson
q | string, [q], {'k': q}, "it's", ["it's", '"', '\'"']
'a\tb', 'a\\nb', 'x\u00e9', '\x41', "d\"q", 'back\slash'
'con' 'cat' "enated"
(1, 2), (1,), [1, 2,], {'a': 1,}
(1 + 2) * 3
range(3) | list, range(1, 4) | list, range(5, 0, -2) | list, range(0) | list
dict(a=1, b='x'), dict({'c': 3}, a=1)
namespace(a=1).a
strftime_now('%d %b %Y'), strftime_now('%Y-%m-%d %H:%M:%S %j %A')
'line1\nline2\n\nline4' | indent, 'a\nb' | indent(2, true), 'a\n\nb' | indent(2, blank=true)
-a + 3, +a, -f
a - -b
a-1
s.nope is defined
s.nope()
nofilter()
l | nofilter
l is notest
1 / 0
1 % 0
'abc' | length > 2, 'x' ~ 'abc' | upper, 'a' + 'b' | upper
not a == 2
a == 1 and b == 2 or false
l.index(1), l.count(3)
people.0.name, l.1
loop is defined
true and missing
d.y[1][0], d['y'][1:][0]
messages | length
f ~ '', 3.0 ~ '', 1e100, -0.0
'%' ~ '}' ~ '}}'
{'a': {'b': {'c': 1}}}
{'a': {'b': {'c': 1}}}['a']['b'].c
raise_exception('refused: ' ~ a)
none | length
5 | length
for
1 +
[1, 2
{'a' 1}
a b
"unclosed
x.
l[1:2:3:4]
f(a=1, 2)
'a' is
'a' |
9223372036854775807 - 1
""".strip("\n").split("\n")

# Whole templates.
TEMPLATES = [
    "a\n  {% if t %}\nb\n  {% endif %}\nc\n", "a  {%- if t -%}  b  {%- endif -%}  c", "  {%+ if t %}x{% endif %}\n",
    "a\n   {{ a }}   \n b", "{% if t +%}\nx{% endif %}", "x {# comment #}\ny", "x\n  {#- c -#}  \n y", "{# a #}\n\nb", "  {# c #}\nb",
    "line\n\n", "line\n", "\n", "", "a\r\nb\rc\r\n", "{{ 1 }}\n", "{% set x = 1 %}\n\n{{ x }}", "   {% set x = 1 %}   \n{{ x }}",
    "{% raw %}{{ a }} {% if %}{% endraw %}!", "  {% raw %}\n x\n  {% endraw %}\ny", "{%- raw -%}  x  {%- endraw -%}  y",
    "{% for x in l %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}{{ loop.revindex0 }} {% endfor %}",
    "{% for x in [] %}x{% else %}empty{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}", "{% for c in 'aé日' %}{{ c }}|{% endfor %}", "{% for x in n %}{% endfor %}",
    "{% for x in missing %}x{% endfor %}ok", "{% for x in 5 %}x{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}:{{ x }} {% endfor %}", "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% set x = 1 %}{% for y in l %}{% set x = y %}{% endfor %}{{ x }}",
    "{% set ns = namespace(x=1) %}{% for y in l %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}",
    "{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}", "{% set a, b = 1, 2 %}{{ a + b }}", "{% set a, b = [1] %}",
    "{% set x.y = 1 %}", "{% set d.y = 1 %}", "{% set x %}  block {{ a }} {% endset %}[{{ x }}]", "{% set x | upper | trim %} b {% endset %}[{{ x }}]",
    "{% macro m(x, y=2) %}{{ x }}-{{ y }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(y=5, x=4) }} {{ m() }}",
    "{% macro m(x) %}{{ x }}{{ a }}{% endmacro %}{% for a in l %}{{ m(a) }}{% endfor %}", "{% macro m() %}{% endmacro %}{{ m(1) }}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% filter upper | replace('A', 'b') %}aAc{% endfilter %}", "{% if a == 2 %}x{% elif a == 1 %}y{% else %}z{% endif %}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for x in [1, 2] %}{% for x in [3] %}{{ x }}{% endfor %}{{ x }}{% endfor %}",
    "{{ '{{' }} {{ '}}' }} {% if '%}' == '%}' %}ok{% endif %}", "{{ {'a': {}} }}", "a { b } { { c", "{% if t %}", "{% endif %}", "{% for x in l %}{% endif %}",
    "{% nope %}", "{{ a", "{% if a", "{# a", "{% raw %} x", "{{ }}", "{% %}", "{{ a }} {{ b.c.d }}", "\n\n{{ missing.x }}",
    "{% generation %}x{% endgeneration %}", "{% for x in l -%}\n   {{ x }},\n{%- endfor %}", "{%- for x in l %}\n{{ x }}\n{% endfor -%}\n  z",
    "{% break %}", "{% for x in range(3) %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for a, b in [(1, 2), (3, 4)] %}{{ a * b }} {% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for (a, b) in [[1, 2]] %}{{ a }}{% endfor %}",
    "{{- a }}\n {{- b -}} \n{{ a -}}", "<{{ a ~}}>", "{% if not a %}x{% endif %}{% if a is not defined %}y{% endif %}{{ a if a is defined }}",
    "{% set x = namespace() %}{% set x.a = 'q' %}{{ x.a }}{{ x['a'] }}{{ x.b is defined }}", "{% set l2 = l + [4] %}{{ l2 }}", "{% for x in l[::-1] %}{{ x }}{% endfor %}",
    "{%- raw %}\n\n x{% endraw %}\n\ny", "{% raw -%}\n x{%- endraw -%}\n\ny", "{{ a }}{#- c #}\n{{ b }}", "a\n\t {%- if t %} b{% endif %}", "{% set x = l | map('string') | join('/') %}{{ x }}",
    "{% for t in l %}{{ t }}{% endfor %}{{ t }}", "{% set t = 'outer' %}{% for t in [1] %}{{ t }}{% endfor %}{{ t }}",
    "{% if a == 1 %}{{ 'x' }}{% endif %}\n{% if b %}\ny\n{% endif %}\nz", "{% call m() %}{% endcall %}", "{% include 'x' %}",
    "{% set x = 'a' if n else 'b' %}{{ x }}", "{% set x = 1, 2 %}{{ x[1] }}", "{{ (l | length) - 1 }} {{ l | length - 1 }}", "{{ not l }} {{ not n }}",
    "{% for m in [] %}{% endfor %}\n{% for m in l %}\n{{ m }}\n{% endfor %}\n", "{{ 'a\nb' }}\n\n{{ a }}", "{{\na\n+\nb\n}}", "{% if\n t %}x{% endif %}",
]

cases = [{"template": "{{ " + e + " }}", **run("{{ " + e + " }}", VARIABLES)} for e in EXPRESSIONS]
cases += [{"template": t, **run(t, VARIABLES)} for t in TEMPLATES]

chats = []
for path in sorted(HERE.glob("templates/*.jinja")):
    for name, messages in CHATS.items():
        for prompt in (True, False):
            for extra in ({}, {"tools": TOOLS}, {"enable_thinking": False}):
                if extra and not prompt:
                    continue
                variables = {"tools": None, "documents": None, **extra}
                result = run(path.read_text(), {"messages": messages, "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>", **variables})
                chats.append({"template_file": path.name, "messages": messages, "add_generation_prompt": prompt, "variables": extra, **result})

# What clients send, rendered as vLLM prepares it for transformers: null fields go, arguments are objects, text parts are
# joined. What a template wants otherwise is written down here and found out by us.
WANTS = {"joined_style.jinja": {"arguments": "text", "no_content": None}, "parts_style.jinja": {"content": "parts"}}
ARGUMENTS = '{"zeta": "Zürich", "n": 1, "f": 1.50, "alpha": [true, null, {"y": 1, "b": 2}], "big": 12345678901234567890123}'


def calls(*arguments, **more):
    return {"role": "assistant", "content": None, **more, "tool_calls": [
        {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": a}} for a in arguments]}


TOOL = {"role": "tool", "tool_call_id": "abcdefghi", "name": "weather", "content": "{\"t\": 20}"}
THANKS = {"role": "user", "content": "thanks"}
NULLS = {"tool_calls": None, "name": None, "refusal": None, "function_call": None, "audio": None, "reasoning_content": None}
REQUESTS = [
    {"messages": [USER, calls(ARGUMENTS), TOOL, THANKS]}, {"messages": [USER, calls(json.loads(ARGUMENTS)), TOOL]},
    {"messages": [USER, calls(""), TOOL]}, {"messages": [USER, calls(None), TOOL]}, {"messages": [USER, calls("{}", ARGUMENTS), TOOL, TOOL]},
    {"messages": [USER, calls(ARGUMENTS, content="Let me see."), TOOL, {"role": "assistant", "content": "It is 20."}, THANKS]},
    {"messages": [USER, calls(ARGUMENTS), TOOL, THANKS], "tools": TOOLS, "tool_choice": "none"},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "a'b"}, {"type": "text", "text": "n"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}, {"role": "assistant", "content": [{"type": "text", "text": "y"}]}, USER]},
    {"messages": [USER, {"role": "assistant", "content": "x", **NULLS}, USER]}, {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": []}, USER]},
    {"messages": [USER, {"role": "assistant"}, USER]}, {"messages": [{"role": "developer", "content": "d"}, USER]},
    {"messages": [USER], "chat_template_kwargs": {"enable_thinking": False, "z": {"z": 1, "a": None}}},
    {"messages": CHAT}, {"messages": [USER, {"role": "assistant", "content": "a"}], "add_generation_prompt": False},
]


def prepared(message, wants):
    message = {key: value for key, value in message.items() if value is not None or key == "content"}
    parts = wants.get("content") == "parts"
    if message["role"] == "developer":
        message["role"] = "system"
    if not message.get("tool_calls"):
        message.pop("tool_calls", None)
    content = message.get("content")
    if content is None:
        message["content"] = wants["no_content"] if "tool_calls" in message and "no_content" in wants else [] if parts else ""
    elif isinstance(content, list) and not parts:
        message["content"] = "\n".join(part["text"] for part in content)
    elif isinstance(content, str) and parts:
        message["content"] = [{"type": "text", "text": content}]
    for call in message.get("tool_calls", []):
        arguments = call["function"]["arguments"] or "{}"
        if wants.get("arguments") == "text":
            arguments = arguments if isinstance(arguments, str) else tojson(arguments)
        elif isinstance(arguments, str):
            arguments = json.loads(arguments)
        call["function"] = {**call["function"], "arguments": arguments}
    return message


requests = []
for path in sorted(HERE.glob("templates/*.jinja")):
    for body in REQUESTS:  # the server's clock is not ours
        body = {**body, "chat_template_kwargs": {"date_string": "26 Jul 2024", **body.get("chat_template_kwargs", {})}}
        messages = [prepared(m, WANTS.get(path.name, {})) for m in json.loads(json.dumps(body["messages"]))]
        variables = {"tools": body.get("tools"), "documents": None, **body["chat_template_kwargs"]}
        result = run(path.read_text(), {"messages": messages, "add_generation_prompt": body.get("add_generation_prompt", True),
                                        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", **variables})
        requests.append({"template_file": path.name, "body": json.dumps(body, ensure_ascii=False), **result})

(HERE / "request_cases.json").write_text(json.dumps(requests, ensure_ascii=False, indent=0) + "\n")
(HERE / "jinja_cases.json").write_text(json.dumps({"variables": VARIABLES, "cases": cases, "chats": chats}, ensure_ascii=False, indent=0) + "\n")
print(len(cases), "cases,", sum("error" in c for c in cases), "errors;", len(chats), "chats,", sum("error" in c for c in chats), "errors;", len(requests), "requests,",
      sum("error" in c for c in requests), "errors")
