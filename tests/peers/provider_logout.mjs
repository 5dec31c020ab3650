#!/usr/bin/env node
// Signing out here signs a person out at the identity provider too (npm oidc-provider), and leads back to the application.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Browser, checks, freePort, peer, serve } from './rig.mjs';

const BACK = 'http://127.0.0.1:9/callback'; // no server listens there: the driver reads the redirect
const AFTER = 'http://127.0.0.1:9/bye';
const folder = mkdtempSync(join(tmpdir(), 'vestibule-logout.'));
const port = await freePort();
const ours = `http://127.0.0.1:${port}/federation/company`;
const issuer = peer('oidc-provider', folder, await freePort(), { REDIRECT_URIS: `${ours}/callback`, POST_LOGOUT_REDIRECT_URIS: `${ours}/logout` });
const server = await serve('--port', String(port), '--redirect-uri', BACK, '--provider', JSON.stringify({ post_logout_redirect_uris: [AFTER], local_login: false }),
  '--identity-provider', JSON.stringify({
    name: 'company', issuer: issuer.OIDC_ISSUER, client_id: issuer.OIDC_CLIENT_ID, client_secret: issuer.OIDC_CLIENT_SECRET, allow_private_network: true, logout: true,
    jit: { mode: 'silent', username: { claim: 'email' } },
  }));
const browser = new Browser();
const login = (account, password) => browser.walk(`${server.URL}/oauth2/authorize?${new URLSearchParams({
  response_type: 'code', client_id: server.CLIENT_ID, redirect_uri: BACK, scope: 'openid', state: 's',
  code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256',
})}`, BACK, account, password);

/** Follows redirects and pages with one form each, until an address that starts with `until`; returns all addresses. */
async function signOut(url, until) {
  const seen = [];
  let form;
  while (!url.startsWith(until) && seen.length < 12) {
    seen.push(url);
    const response = await browser.request(url, form);
    const text = await response.text();
    const place = response.headers.get('location') ?? /http-equiv="refresh" content="0; url=([^"]*)"/.exec(text)?.[1].replace(/&#38;|&amp;/g, '&');
    form = undefined;
    if (place) { url = new URL(place, url).href; continue; }
    const action = /<form\b[^>]*action="([^"]*)"/.exec(text)?.[1];
    if (!action) return [...seen, `no way on: ${text.replace(/<[^>]*>|\s+/g, ' ').slice(0, 200)}`];
    form = Object.fromEntries([...text.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)].map(([, name, value]) => [name, value]));
    if (/name="logout"/.test(text)) form.logout = 'yes';
    url = new URL(action, url).href;
  }
  return [...seen, url];
}

try {
  await checks.works('a first login', () => login('alice@example.com', 'alice-at-upstream'));
  const way = await signOut(`${server.URL}/oauth2/logout?${new URLSearchParams({ client_id: server.CLIENT_ID, post_logout_redirect_uri: AFTER, state: 'out' })}`, AFTER);
  const there = way.find((url) => url.startsWith(`${issuer.OIDC_ISSUER}/session/end?`));
  const asked = new URL(there ?? 'http://none').searchParams;
  checks.that('the provider is asked to end its session', there !== undefined, way);
  checks.that('the provider gets its own ID token for it', asked.get('id_token_hint')?.split('.').length === 3, way);
  checks.that('the person comes back here', way.some((url) => url.startsWith(`${ours}/logout?`)), way);
  checks.that('the person comes back to the application', way.at(-1) === `${AFTER}?state=out`, way);
  const again = await login(undefined, undefined).then(() => 'let in', (error) => String(error));
  checks.that('the next login asks for the password there again', again.includes('Wrong e-mail or password'), again);
} catch (error) {
  checks.that('the logout finished', false, error);
} finally {
  await server.stop();
  issuer.stop();
  rmSync(folder, { recursive: true, force: true });
  checks.finish();
}
