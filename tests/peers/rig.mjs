// Shared by the drivers in JavaScript: a running Vestibule, packages from npm, checks, and a browser without a screen
// or scripts.
import { execFileSync, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createServer } from 'node:net';

export const HERE = dirname(fileURLToPath(import.meta.url));
export const PEER = join(HERE, '../../scripts/peer');
export const PASSWORD = 'correct horse battery staple 9';
const facts = (text) => Object.fromEntries([...text.matchAll(/^(\w+)='?(.*?)'?$/gm)].map((line) => [line[1], line[2]]));

export const checks = {
  passed: 0,
  failed: 0,
  that(name, holds, detail) {
    if (holds) this.passed += 1; else this.failed += 1;
    console.log(holds ? `ok    ${name}` : `FAIL  ${name}${detail === undefined ? '' : `: ${String(detail?.stack ?? (typeof detail === 'string' ? detail : JSON.stringify(detail))).slice(0, 600)}`}`);
    return holds;
  },
  /** Checks that the attempt succeeds; returns its value, or undefined. */
  async works(name, attempt) {
    try { const value = await attempt(); this.that(name, true); return value; } catch (error) { this.that(name, false, error.cause ? `${error} ${error.cause?.message ?? JSON.stringify(error.cause)}` : error); return undefined; }
  },
  /** Checks that the attempt is refused with this OAuth error. */
  async refused(name, code, attempt) {
    try { await attempt(); this.that(name, false, 'it was accepted'); } catch (error) {
      // A refusal of a client that used Basic comes as a challenge (RFC 6749 section 5.2).
      const challenged = code === 'invalid_client' && error.code === 'OAUTH_WWW_AUTHENTICATE_CHALLENGE' && error.status === 401;
      this.that(name, challenged || error.error === code, error);
    }
  },
  finish() {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    process.exitCode = this.failed || !this.passed ? 1 : 0;
  },
};

/** Decodes the entities of an attribute. */
const plain = (text) => text.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code)).replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&amp;', '&');

/** Installs a set of packages and returns a function that imports one of them. */
export function packages(name) {
  const folder = facts(execFileSync(PEER, ['install', name], { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })).NODE_FOLDER;
  const { resolve } = createRequire(join(folder, 'x.js'));
  return (wanted) => import(pathToFileURL(resolve(wanted)).href);
}

export const freePort = () => new Promise((done) => { const server = createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => done(port)); }); });

/** Starts an empty Vestibule with serve.py; returns its facts and stop(). */
export async function serve(...options) {
  const child = spawn('python3', [join(HERE, 'serve.py'), ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  await new Promise((done, failed) => {
    child.stdout.on('data', (chunk) => { text += chunk; if (/^READY$/m.test(text)) done(); });
    child.on('exit', (code) => failed(new Error(`serve.py ended with status ${code}\n${text}`)));
  });
  const stop = () => new Promise((done) => { if (child.exitCode !== null) done(); else { child.removeAllListeners('exit'); child.on('exit', done); child.kill('SIGTERM'); } });
  return { ...facts(text), stop };
}

/** Starts a peer; returns its facts and stop(). */
export function peer(name, folder, port, environment = {}) {
  const text = execFileSync(PEER, [name, folder, String(port)], { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' });
  return { ...facts(text), stop: () => execFileSync(PEER, ['stop', folder]) };
}

/** Sends one SCIM request; returns status and body. */
export async function scim(server, method, path, body) {
  const response = await fetch(server.SCIM_URL + path, { method, headers: { authorization: `Bearer ${server.SCIM_TOKEN}`, 'content-type': 'application/scim+json', connection: 'close' }, body: body && JSON.stringify(body) });
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : null };
}

/** Creates a user who can log in with PASSWORD. */
export async function localUser(server, name, more = {}) {
  return scim(server, 'POST', '/Users', {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'], userName: name, password: PASSWORD, active: true,
    name: { givenName: 'Lee', familyName: 'Local' }, emails: [{ value: name, type: 'work', primary: true }], ...more,
  });
}

/** A browser for one host: cookies, redirects, and the first form of a page filled in. */
export class Browser {
  cookies = new Map();

  async request(url, form) {
    // A connection that the server closes as it is used again would fail the request.
    const headers = { cookie: [...this.cookies].map(([k, v]) => `${k}=${v}`).join('; '), accept: 'text/html', connection: 'close' };
    if (form) Object.assign(headers, { 'content-type': 'application/x-www-form-urlencoded', origin: new URL(url).origin });
    const response = await fetch(url, { method: form ? 'POST' : 'GET', body: form && new URLSearchParams(form), headers, redirect: 'manual' });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (!value || /max-age=0/i.test(line)) this.cookies.delete(name); else this.cookies.set(name, value);
    }
    return response;
  }

  /** Follows redirects and forms from `url` until a redirect to an address that starts with `until`; returns it. */
  async walk(url, until, account, password) {
    let form;
    for (let step = 0; step < 15; step += 1) {
      const response = await this.request(url, form);
      const text = await response.text();
      const onward = /<meta http-equiv="refresh" content="\d+; ?url=([^"]*)"/i.exec(text);
      const place = response.headers.get('location') ?? (onward && plain(onward[1]));
      if (place) {
        url = new URL(place, url).href; form = undefined;
        if (url.startsWith(until)) return new URL(url);
        continue;
      }
      const forms = [...text.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gs)].map(([, head, body]) => ({ head, body }));
      const chosen = forms.find(({ body }) => /type="?password/.test(body)) ?? forms.find(({ body }) => !/cancel|deny|sign out|log out/i.test(body));
      if (response.status >= 400 || !chosen) throw new Error(`no way on at ${url}, status ${response.status}: ${text.replace(/<[^>]*>|\s+/g, ' ').slice(0, 300)}`);
      form = {};
      for (const [tag, kind] of chosen.body.matchAll(/<(input|button)\b[^>]*>/g)) {
        const read = (name) => new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1];
        const type = read('type') ?? (kind === 'button' ? 'submit' : 'text');
        if (!read('name') || ['checkbox', 'radio'].includes(type)) continue;
        form[read('name')] = type === 'password' ? password : type === 'text' || type === 'email' ? account : plain(read('value') ?? '');
      }
      url = new URL(plain(/\baction="([^"]*)"/.exec(chosen.head)?.[1] ?? ''), url).href;
    }
    throw new Error(`no end at ${url}`);
  }
}
