// A real `concertina serve` on a free port, and what its operator can do to it.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const source = process.env.CONCERTINA_SOURCE_DIR;
const binary = process.env.CONCERTINA_BINARY;
export const kDemo = join(source, 'models/demo');

// Polls until `found()` gives something true, and gives that.
export async function eventually(what, found, timeout_ms = 60_000) {
  const deadline = Date.now() + timeout_ms;
  for (;;) {
    const value = await found();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${timeout_ms} ms: ${what}`);
    await pause(2);
  }
}

export class Server {
  // Ready when returned; `flags` behind `serve MODEL --port 0`.
  static async start(model, flags = [], api_key = '') {
    const server = new Server();
    server.headers = api_key ? { Authorization: `Bearer ${api_key}` } : {};
    server.log = '';
    server.process = spawn(binary, ['serve', model, '--port', '0', ...flags]);
    for (const stream of [server.process.stdout, server.process.stderr]) stream.on('data', (data) => (server.log += data));
    let ended = false;
    server.ended = new Promise((resolve) => server.process.on('close', (code, signal) => ((ended = true), resolve(code ?? signal))));
    server.url = await eventually('the server listens', () => {
      if (ended) throw new Error(`the server ended at its start; its log:\n${server.log}`);
      return /listening on (\S+)\n/.exec(server.log)?.[1];
    });
    await eventually('the server is ready', async () => (await fetch(`${server.url}/ready`)).status === 200);
    return server;
  }
  async stop() {
    this.process.kill('SIGKILL');
    await this.ended;
    if (this.folder) rmSync(this.folder, { recursive: true });
  }
  get v1() {
    return `${this.url}/v1`;
  }
  async get(path) {
    return (await fetch(this.url + path, { headers: this.headers })).json();
  }
  cluster() {
    return this.get('/cluster');
  }
  async scale(new_data_parallel_size, more = {}) {
    const response = await fetch(`${this.url}/scale_elastic_ep`, {
      method: 'POST',
      headers: { ...this.headers, 'Content-Type': 'application/json' },
      body: JSON.stringify({ new_data_parallel_size, ...more }),
    });
    if (response.status !== 200) throw new Error(`scale: ${response.status}: ${await response.text()}`);
  }
  n_requests = async () => (await this.cluster()).ranks.reduce((sum, rank) => sum + rank.running + rank.waiting, 0);
  // The rank that carries the one stream there is.
  busy_rank() {
    return eventually('a rank is busy', async () => (await this.cluster()).ranks.find((rank) => rank.running > 0), 5_000);
  }
  // Until another has its place: while that is an operation, the next one would be refused (409). Streams go on.
  async kill_busy_rank() {
    const { pid } = await this.busy_rank();
    process.kill(pid, 'SIGKILL');
    await eventually('another rank has the place of the one that was killed', async () => {
      const { ranks, operation, missing } = await this.cluster();
      return !operation && missing === 0 && ranks.every((rank) => rank.pid !== pid);
    });
  }
  // Nothing runs, and as many ranks as there should be.
  settled() {
    return eventually('the group is settled', async () => {
      const { ranks, size, operation, missing } = await this.cluster();
      return !operation && missing === 0 && ranks.length === size && ranks.every((rank) => rank.running + rank.waiting === 0);
    });
  }
}

// A server whose model answers the nth request of a conversation with the nth text (tools/recital).
export async function recite(texts, flags = []) {
  const folder = mkdtempSync(join(tmpdir(), 'concertina_clients_'));
  const files = texts.map((text, i) => {
    writeFileSync(join(folder, `${i}`), text);
    return join(folder, `${i}`);
  });
  const made = spawnSync('python3', [join(source, 'tools/recital/make_checkpoint.py'), join(folder, 'model'), ...files], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`make_checkpoint.py: ${made.error ?? made.stderr}`);
  const server = await Server.start(join(folder, 'model'), ['--served-model-name', 'recital', ...flags]);
  server.folder = folder;
  return server;
}
