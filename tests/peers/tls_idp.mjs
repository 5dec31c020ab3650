#!/usr/bin/env node
// A provider with an untrusted certificate, for its own host or for another: it gets no request, and the person sees an
// error.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Browser, checks, freePort, serve } from './rig.mjs';

const BACK = 'http://127.0.0.1:9/callback'; // no server listens there
const folder = mkdtempSync(join(tmpdir(), 'vestibule-tls.'));
const asked = [];

/** Starts a server with a self-signed certificate for `host`. */
async function provider(name, host) {
  const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-subj', `/CN=${host}`, '-addext', `subjectAltName=${host === '127.0.0.1' ? 'IP' : 'DNS'}:${host}`], { stdio: 'ignore' });
  const port = await freePort();
  const server = https.createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => { asked.push(`${name} ${request.url}`); response.end('{}'); });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { name, server, issuer: `https://127.0.0.1:${port}` };
}

const providers = [await provider('self-signed', '127.0.0.1'), await provider('elsewhere', 'idp.example.com')];
for (const { name, server, issuer } of providers) {
  const ours = await serve('--redirect-uri', BACK, '--identity-provider', JSON.stringify({ name, issuer, client_id: 'us', allow_private_network: true, jit: { mode: 'silent' } }));
  try {
    const browser = new Browser();
    await browser.request(`${ours.URL}/oauth2/authorize?${new URLSearchParams({
      response_type: 'code', client_id: ours.CLIENT_ID, redirect_uri: BACK, scope: 'openid', state: 's',
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256',
    })}`);
    const [, csrf] = /name="csrf" value="([^"]*)"/.exec(await (await browser.request(`${ours.URL}/login`)).text());
    const answer = await browser.request(`${ours.URL}/login/idp`, { csrf, identity_provider: name });
    const text = await answer.text();
    checks.that(`${name}: the person is told that the provider does not answer`, answer.status === 503 && text.includes('provider_unavailable'), text);
    checks.that(`${name}: the log says that the login failed, and why`, readFileSync(ours.LOG, 'utf8').includes(`a login through ${name} failed: idp_unavailable`));
  } finally {
    await ours.stop();
    server.close();
  }
}
checks.that('no provider got a request', asked.length === 0, asked);
rmSync(folder, { recursive: true, force: true });
checks.finish();
