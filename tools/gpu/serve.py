#!/usr/bin/env python3
"""The server on a GPU, over HTTP: a chat; 64 streams of every kind alone and all at once, which must not differ in a
bit; a rank killed under them; Ctrl-C while they run; and what is refused, with what words.

    serve.py CONCERTINA MODEL [flags of serve]
"""
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request

LENGTHS = [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 79, 80, 81, 95, 96, 97, 111,
           112, 113, 116, 117, 126, 127, 128, 129, 130, 143, 144, 145, 159, 160, 161, 191, 192, 193, 243, 244, 245, 254,
           255, 256, 257, 258, 319, 320, 321, 371, 383, 384, 385, 386, 512]
TOKENS = 48


def request_of(i, has_text=True):
    body = {"prompt": [(t * 977 + i * 131 + 13) % 4096 for t in range(LENGTHS[i])], "max_tokens": TOKENS,
            "ignore_eos": True, "temperature": 0 if i % 2 == 0 else 0.9, "seed": 1000 + i, "logprobs": i % 4}
    if i % 8 == 3: body.update(top_k=40, top_p=0.9)
    if i % 8 == 5: body.update(min_p=0.02)
    if i % 8 in (4, 7): body.update(repetition_penalty=1.3, presence_penalty=0.4)
    if i % 8 == 6: body.update(allowed_token_ids=[5, 90, 91, 1000, 4000])
    if i % 8 == 1: body.update(logit_bias={"17": 4.5, "4090": -3.0})
    if i % 8 == 2: body.update(prompt_logprobs=3)
    if i % 16 == 10 and has_text: body.update(echo=True)
    return body


class Server:
    def __init__(self, arguments, log, has_text):
        self.has_text = has_text
        self.log = log
        self.begun = time.monotonic()
        self.process = subprocess.Popen(arguments + ["--port", "0"], stdout=subprocess.PIPE,
                                        stderr=open(log, "w"), text=True)
        self.url = self.process.stdout.readline().strip().removeprefix("listening on ")

    def wait_until_ready(self):
        while self.process.poll() is None and time.monotonic() - self.begun < 120:
            try:
                urllib.request.urlopen(self.url + "/ready", timeout=5).read()
                return time.monotonic() - self.begun
            except OSError:
                time.sleep(0.02)
        sys.exit(f"not ready: {open(self.log).read()}")

    def post(self, path, body):
        call = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(call, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return {"status": error.code, "body": error.read().decode()}

    def rank(self):
        return int(subprocess.check_output(["pgrep", "-P", str(self.process.pid)]).split()[0])

    def all_at_once(self):
        answers, begun = [None] * len(LENGTHS), time.monotonic()

        def ask(i):
            answers[i] = self.post("/v1/completions", request_of(i, self.has_text))
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(LENGTHS))]
        for thread in threads: thread.start()
        return threads, answers, begun


failures = []


def check(what, is_so, found=""):
    print(f"  {'ok' if is_so else 'WRONG':6}{what}{': ' + str(found) if found != '' else ''}", flush=True)
    if not is_so: failures.append(what)


def choices(answer):
    return answer.get("choices") or answer


def compare(what, alone, together):
    different = [i for i in range(len(LENGTHS)) if choices(alone[i]) != choices(together[i])]
    check(f"{what}: {len(different)} of {len(LENGTHS)} streams differ", not different,
          [(LENGTHS[i], str(choices(together[i]))[:200]) for i in different[:2]] if different else "")


def refused(binary, model, flags, words):
    done = subprocess.run([binary, "serve", model, "--port", "0"] + flags, capture_output=True, text=True, timeout=60)
    said = done.stderr.strip().splitlines()
    line = next((l for l in said if re.search(words, l)), said[-1] if said else "")
    check(" ".join(flags), done.returncode != 0 and re.search(words, done.stderr), line[-240:])


def talk(server):
    chat = server.post("/v1/chat/completions", {"temperature": 0, "max_tokens": 40, "messages": [
        {"role": "user", "content": "What is the capital of France?"}]})
    check("a chat", "choices" in chat, json.dumps(chat.get("choices", chat))[:160])


def refusals(binary, model):
    refused(binary, model, ["--device", "cuda:9"], r"cuda:9.*GPU")
    refused(binary, model, ["--device", "gpu"], "cpu, cuda or cuda:N")
    refused(binary, model, ["--device", "cuda", "--gpu-memory-utilization", "0.001"], "GiB for weights")
    refused(binary, model, ["--device", "cuda", "--kv-cache-memory", "900GiB"], "--kv-cache-memory")
    refused(binary, model, ["--device", "cuda", "--data-parallel-size", "2"], "form groups")
    refused(binary, model, ["--device", "cuda", "--quantization", "int8"], "BF16")
    refused(binary, model, ["--device", "cuda", "--gpu-memory-utilization", "1.5"], "is not a share")


def main():
    binary, model, flags = sys.argv[1], sys.argv[2], sys.argv[3:]
    out = os.environ.get("OUT", "/tmp")
    arguments = [binary, "serve", model, "--device", "cuda"] + flags
    has_text = os.path.exists(model + "/tokenizer.json")
    server = Server(arguments, out + "/server.log", has_text)
    check("ready", True, f"{server.wait_until_ready():.2f} s after exec")
    if has_text: talk(server)
    begun = time.monotonic()
    alone = [server.post("/v1/completions", request_of(i, has_text)) for i in range(len(LENGTHS))]
    check("64 streams, one after the other", all("choices" in a for a in alone),
          f"{time.monotonic() - begun:.2f} s" if all("choices" in a for a in alone) else
          [a for a in alone if "choices" not in a][0])
    print("  sha256 of their answers:", hashlib.sha256(json.dumps([choices(a) for a in alone]).encode()).hexdigest()[:16])
    threads, together, begun = server.all_at_once()
    for thread in threads: thread.join()
    seconds = time.monotonic() - begun
    compare(f"all at once, {seconds:.2f} s, {len(LENGTHS) * TOKENS / seconds:.0f} tokens/s", alone, together)
    threads, together, begun = server.all_at_once()
    time.sleep(0.05)
    os.kill(server.rank(), signal.SIGKILL)
    for thread in threads: thread.join()
    compare(f"kill -9 of the rank 50 ms after they began, {time.monotonic() - begun:.2f} s", alone, together)
    threads, together, begun = server.all_at_once()
    time.sleep(0.05)
    server.process.send_signal(signal.SIGINT)
    code = server.process.wait(60)
    for thread in threads: thread.join()
    check(f"Ctrl-C: exit {code} after {time.monotonic() - begun:.2f} s", code == 0)
    compare("they were finished", alone, together)
    if has_text: refusals(binary, model)
    sys.exit(1 if failures else 0)


main()
