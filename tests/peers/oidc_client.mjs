#!/usr/bin/env node
// An independent, certified OpenID client (npm openid-client) against Vestibule's OpenID provider.
import { createServer } from 'node:http';
import { Browser, PASSWORD, checks, localUser, packages, scim, serve } from './rig.mjs';

const load = packages('openid-client');
const [oidc, jose] = [await load('openid-client'), await load('jose')];
const BACK = 'http://127.0.0.1:9/callback'; // no server listens there: the driver reads the redirect
const told = []; // the logout tokens posted to the back-channel logout URI
const listener = createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', () => { told.push(new URLSearchParams(body).get('logout_token')); response.writeHead(200).end(); });
});
await new Promise((done) => { listener.listen(0, '127.0.0.1', done); });
const more = { backchannel_logout_uri: `http://127.0.0.1:${listener.address().port}/logout`, allow_private_network: true, client_credentials: true };
const server = await serve('--redirect-uri', BACK, '--provider', JSON.stringify(more));

const insecure = { execute: [oidc.allowInsecureRequests] };
const discover = (auth) => oidc.discovery(new URL(server.URL), server.CLIENT_ID, undefined, auth, insecure);
const config = await checks.works('discovery', () => discover(oidc.ClientSecretBasic(server.CLIENT_SECRET)));

/** Logs in up to the redirect that carries the code. */
async function login(browser, more = {}, account = 'lee@example.com', build = oidc.buildAuthorizationUrl) {
  const verifier = oidc.randomPKCECodeVerifier();
  const state = oidc.randomState();
  const nonce = oidc.randomNonce();
  const url = await build(config, {
    redirect_uri: BACK, scope: 'openid email profile offline_access', state, nonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...more,
  });
  const place = await browser.walk(url.href, BACK, account, PASSWORD);
  return { place, verifier, state, nonce };
}
const redeem = ({ place, verifier, state, nonce }, from = config) => oidc.authorizationCodeGrant(from, place, { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true });

try {
  const made = await localUser(server, 'lee@example.com');
  checks.that('a local user is made through SCIM', made.status === 201, made);

  const browser = new Browser();
  const first = await checks.works('a login with a password comes back with a code', () => login(browser));
  checks.that('the answer names its issuer (RFC 9207)', first?.place.searchParams.get('iss') === config.serverMetadata().issuer, first?.place.href);
  const tokens = await checks.works('the code is redeemed and the ID token is valid', () => redeem(first));
  const claims = tokens.claims();
  checks.that('the subject is not the user name', claims.sub && claims.sub !== 'lee@example.com', claims);
  const info = await checks.works('userinfo answers', () => oidc.fetchUserInfo(config, tokens.access_token, claims.sub));
  checks.that('userinfo has the e-mail address', info?.email === 'lee@example.com', info);

  await checks.refused('a code works once', 'invalid_grant', () => redeem(first));
  checks.that('a replayed code revokes the tokens issued for it', !(await oidc.fetchUserInfo(config, tokens.access_token, claims.sub).catch(() => null)));

  const second = await checks.works('a second login needs no password', () => login(browser, { prompt: 'none' }));
  const again = await checks.works('its code is redeemed', () => redeem(second));
  checks.that('the subject stays the same', again?.claims().sub === claims.sub);
  const wrong = await login(browser);
  await checks.refused('a wrong PKCE verifier is refused', 'invalid_grant', () => redeem({ ...wrong, verifier: oidc.randomPKCECodeVerifier() }));
  await checks.refused('a wrong PKCE verifier uses up the code', 'invalid_grant', () => redeem(wrong));
  const post = await discover(oidc.ClientSecretPost(server.CLIENT_SECRET));
  const third = await login(browser);
  await checks.works('client_secret_post works as well', () => redeem(third, post));
  const bad = await discover(oidc.ClientSecretBasic('not the secret'));
  const fourth = await login(browser);
  await checks.refused('a wrong client secret is refused', 'invalid_client', () => redeem(fourth, bad));

  const one = await checks.works('a refresh token is exchanged', () => oidc.refreshTokenGrant(config, again.refresh_token));
  checks.that('it is replaced by a new one', one?.refresh_token && one.refresh_token !== again.refresh_token);
  const two = await checks.works('the new one works', () => oidc.refreshTokenGrant(config, one.refresh_token));
  await checks.refused('a refresh token that was used before is refused', 'invalid_grant', () => oidc.refreshTokenGrant(config, again.refresh_token));
  await checks.refused('reuse of a refresh token revokes the whole family', 'invalid_grant', () => oidc.refreshTokenGrant(config, two.refresh_token));

  const stranger = new Browser();
  const elsewhere = oidc.buildAuthorizationUrl(config, { redirect_uri: 'http://127.0.0.1:9/other', scope: 'openid', state: 'x', nonce: 'y', code_challenge: 'a'.repeat(43), code_challenge_method: 'S256' });
  const response = await stranger.request(elsewhere.href);
  checks.that('an unregistered redirect URI gets no redirect', response.status === 400 && !response.headers.get('location'), response.status);
  const silent = await checks.works('prompt=none without a session returns to the application', () => login(stranger, { prompt: 'none' }));
  checks.that('prompt=none without a session answers login_required', silent?.place.searchParams.get('error') === 'login_required', silent?.place.href);

  const alive = await redeem(await login(browser));
  if (config.serverMetadata().revocation_endpoint) {
    await checks.works('a token is revoked', () => oidc.tokenRevocation(config, alive.refresh_token));
    await checks.refused('a revoked refresh token is refused', 'invalid_grant', () => oidc.refreshTokenGrant(config, alive.refresh_token));
  }
  await checks.works('a token is introspected', async () => {
    const good = await redeem(await login(browser));
    const seen = await oidc.tokenIntrospection(config, good.access_token);
    if (!seen.active || seen.client_id !== server.CLIENT_ID || seen.sub !== claims.sub) throw new Error(JSON.stringify(seen));
    await oidc.tokenRevocation(config, good.access_token);
    const after = await oidc.tokenIntrospection(config, good.access_token);
    if (JSON.stringify(after) !== '{"active":false}') throw new Error(JSON.stringify(after));
  });
  const pushed = await checks.works('a login with a pushed authorization request works', () => login(browser, {}, undefined, oidc.buildAuthorizationUrlWithPAR));
  await checks.works('the code of a pushed request is redeemed', () => redeem(pushed));

  const own = await checks.works('the client gets a token for SCIM by itself', () => oidc.clientCredentialsGrant(config, { scope: 'scim' }));
  const list = await scim({ ...server, SCIM_TOKEN: own.access_token }, 'GET', '/Users?count=0');
  checks.that('SCIM accepts that token', list.status === 200, list);
  await checks.refused('client credentials give no OpenID scope', 'invalid_scope', () => oidc.clientCredentialsGrant(config, { scope: 'openid' }));

  for (const algorithm of ['ES256', 'RS256', 'PS256', 'EdDSA']) {
    const pair = await jose.generateKeyPair(algorithm, { extractable: true });
    const jwk = { ...await jose.exportJWK(pair.publicKey), kid: 'one' };
    const provider = { client_secret: null, client_credentials: true, jwks: JSON.stringify({ keys: [jwk] }) };
    const signing = await serve('--redirect-uri', BACK, '--provider', JSON.stringify(provider));
    const as = (auth) => oidc.discovery(new URL(signing.URL), signing.CLIENT_ID, undefined, auth, insecure);
    await checks.works(`a client proves who it is with ${algorithm}`, async () => oidc.clientCredentialsGrant(await as(oidc.PrivateKeyJwt({ key: pair.privateKey, kid: 'one' }))));
    const stranger = await jose.generateKeyPair(algorithm, { extractable: true });
    await checks.refused('another key is refused', 'invalid_client', async () => oidc.clientCredentialsGrant(await as(oidc.PrivateKeyJwt({ key: stranger.privateKey, kid: 'one' }))));
    await checks.refused('a client secret is refused', 'invalid_client', async () => oidc.clientCredentialsGrant(await as(oidc.ClientSecretPost(server.CLIENT_SECRET))));
    await signing.stop();
  }

  const offline = await redeem(await login(browser));
  const off = await scim(server, 'PATCH', `/Users/${made.body.id}`, { schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'], Operations: [{ op: 'replace', path: 'active', value: false }] });
  checks.that('the user is deactivated through SCIM', [200, 204].includes(off.status), off);
  await new Promise((done) => { setTimeout(done, 1000); });
  await checks.refused('a deactivated user has no refresh token after one second', 'invalid_grant', () => oidc.refreshTokenGrant(config, offline.refresh_token));
  const gone = await login(browser, { prompt: 'none' }).catch(() => null);
  checks.that('a deactivated user has no session', gone === null || gone.place.searchParams.get('error') === 'login_required', gone?.place.href);

  await localUser(server, 'max@example.com');
  const other = new Browser();
  const max = await redeem(await login(other, {}, 'max@example.com'));
  told.length = 0;
  const ended = await other.request(oidc.buildEndSessionUrl(config, { id_token_hint: max.id_token }).href);
  checks.that('logout answers', ended.status < 400, ended.status);
  const after = await login(other, { prompt: 'none' }, 'max@example.com').catch(() => null);
  checks.that('after the logout there is no session', after?.place.searchParams.get('error') === 'login_required', after?.place.href);
  for (let wait = 0; wait < 100 && told.length === 0; wait += 1) await new Promise((done) => { setTimeout(done, 100); });
  checks.that('the application gets one back-channel logout request', told.length === 1, told);
  await checks.works('the logout token is valid', async () => {
    const { issuer, jwks_uri: keys } = config.serverMetadata();
    const { payload, protectedHeader } = await jose.jwtVerify(told[0], jose.createRemoteJWKSet(new URL(keys)), { issuer, audience: server.CLIENT_ID, typ: 'logout+jwt', requiredClaims: ['iat', 'exp', 'jti', 'events'] });
    const held = payload.sid === max.claims().sid && payload.sub === max.claims().sub && payload.nonce === undefined && 'http://schemas.openid.net/event/backchannel-logout' in payload.events;
    if (!held) throw new Error(JSON.stringify({ payload, protectedHeader }));
  });
} catch (error) {
  checks.that('the requests finished', false, error);
} finally {
  await server.stop();
  listener.close();
  checks.finish();
}
