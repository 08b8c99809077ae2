// Tokens per second of llama.cpp through node-llama-cpp (its prebuilt binary): one JSON line a measurement on
// stdout, {"what": "decode 8", "tokens_per_s": [...]}. Usage: node peer.mjs MODEL.gguf THREADS RUNS STEPS N...
// Every sequence gets random tokens of its own: the same ones would go to the same experts.
import {createRequire} from "node:module";
import path from "node:path";
import {pathToFileURL} from "node:url";

const [modelPath, threads, runs, steps, ...sequences] = process.argv.slice(2);
const require = createRequire(path.resolve(process.env.PEER_MODULES ?? ".", "package.json"));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: Number(threads)});
const model = await llama.loadModel({modelPath, defaultContextFlashAttention: true});

let state = 12345;
function random(limit) {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return Math.floor((state / 4294967296) * limit);
}
const randomTokens = (n) => Array.from({length: n}, () => 300 + random(3000));
const report = (what, values) => console.log(JSON.stringify({what, tokens_per_s: values}));

for (const n of sequences.map(Number)) {
  const context = await model.createContext({sequences: n, contextSize: 256, batchSize: 512, threads: Number(threads)});
  const all = Array.from({length: n}, () => context.getSequence());
  const values = [];
  for (let run = 0; run <= Number(runs); ++run) {
    await Promise.all(all.map((sequence) => sequence.clearHistory()));
    const generators = all.map((sequence) => sequence.evaluate(randomTokens(8), {temperature: 0, yieldEogToken: true}));
    await Promise.all(generators.map((generator) => generator.next()));
    const begin = performance.now();
    await Promise.all(generators.map(async (generator) => {
      for (let i = 0; i < Number(steps); ++i) await generator.next();
    }));
    if (run > 0) values.push((1e3 * n * Number(steps)) / (performance.now() - begin));
    await Promise.all(generators.map((generator) => generator.return()));
  }
  report(`decode ${n}`, values);
  await context.dispose();
}

for (const n of [512, 2048, 4096]) {
  const context = await model.createContext({sequences: 1, contextSize: n + 256, batchSize: 512, threads: Number(threads)});
  const sequence = context.getSequence();
  const values = [];
  for (let run = 0; run <= Number(runs); ++run) {
    await sequence.clearHistory();
    const begin = performance.now();
    await sequence.evaluateWithoutGeneratingNewTokens(randomTokens(n));
    if (run > 0) values.push((1e3 * n) / (performance.now() - begin));
  }
  report(`prefill ${n}`, values);
  await context.dispose();
}
process.exit(0);
