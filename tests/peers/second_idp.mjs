#!/usr/bin/env node
// Logins through an independent OpenID provider (npm oauth2-mock-server): a first and a second login, changed claims, a
// new key.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Browser, checks, freePort, peer, scim, serve } from './rig.mjs';

const BACK = 'http://127.0.0.1:9/callback'; // no server listens there: the driver reads the redirect
const folder = mkdtempSync(join(tmpdir(), 'vestibule-second.'));
const issuer = peer('second-issuer', folder, await freePort());
const server = await serve('--redirect-uri', BACK, '--identity-provider', JSON.stringify({
  name: 'second', issuer: issuer.OIDC_ISSUER, client_id: issuer.OIDC_CLIENT_ID, client_secret: issuer.OIDC_CLIENT_SECRET, allow_private_network: true,
  jit: { mode: 'silent', username: { claim: 'email' } },
}));
const control = (method, path, body) => fetch(issuer.OIDC_CONTROL + path, { method, body: body && JSON.stringify(body) });
const people = async () => (await scim(server, 'GET', '/Users?count=50')).body.Resources ?? [];
const login = () => new Browser().walk(`${server.URL}/oauth2/authorize?${new URLSearchParams({
  response_type: 'code', client_id: server.CLIENT_ID, redirect_uri: BACK, scope: 'openid', state: 's', idp_hint: 'second',
  code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256',
})}`, BACK);

try {
  await checks.works('a first login', login);
  const [dan] = await people();
  checks.that('the account has the claims of the provider', dan?.userName === 'dan@example.com' && dan.name?.givenName === 'Dan', dan);
  await checks.works('the next login', login);
  checks.that('it is the same account, and nothing changed', (await people()).length === 1 && (await people())[0].meta.version === dan.meta.version);
  await control('PUT', '/person', { sub: 'dan', email: 'dan@example.com', email_verified: true, given_name: 'Daniel' });
  await checks.works('a login with a changed name', login);
  checks.that('the account has the new name', (await people())[0].name.givenName === 'Daniel');
  await control('POST', '/rotate-keys');
  await checks.works('a login after a new key was published', login);
  await control('PUT', '/person', { sub: 'eve', email: 'dan@example.com', email_verified: false });
  const asked = await login().then(() => '', (error) => String(error));
  checks.that('another subject with the same address is not let in', asked !== '', asked);
  checks.that('another subject with the same address gets no account', (await people()).length === 1, asked);
} catch (error) {
  checks.that('the logins finished', false, error);
} finally {
  await server.stop();
  issuer.stop();
  rmSync(folder, { recursive: true, force: true });
  checks.finish();
}
