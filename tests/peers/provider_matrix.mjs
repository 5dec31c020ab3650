#!/usr/bin/env node
// Logins through an independent provider (npm oidc-provider) in every combination of signing algorithm, place of the
// claims, discovery document and way back.
import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';
import { Browser, checks, freePort, packages, scim, serve } from './rig.mjs';

const BACK = 'http://127.0.0.1:9/callback'; // no server listens there: the driver reads the redirect
const SECRET = 'secret at the provider 0123456789';
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'EdDSA'];
const PLACES = ['id_token', 'userinfo', 'signed_userinfo'];
const WAYS_BACK = ['query', 'form_post'];
/** The changes of a discovery document; none: the issuer publishes no document, and the configuration has its endpoints. */
const DOCUMENTS = {
  whole: (document) => document,
  sparse: ({ issuer, authorization_endpoint, token_endpoint, userinfo_endpoint, jwks_uri }) => ({ issuer, authorization_endpoint, token_endpoint, userinfo_endpoint, jwks_uri }),
  odd: (document) => ({ ...document, service_documentation: 'TBD', registration_endpoint: '/', op_policy_uri: '', claims_parameter_supported: 'true', response_types_supported: null, scopes_supported: {}, token_endpoint_auth_methods_supported: 'client_secret_basic' }),
  none: undefined,
};

const load = packages('oidc-provider');
const { Provider } = await load('oidc-provider');
const { generateKeyPair, exportJWK } = await load('jose');

/** Starts a provider that signs with an algorithm and has the claims in one place. Everybody who comes is signed in. */
async function start(algorithm, place) {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  const key = { ...(await exportJWK(privateKey)), use: 'sig', alg: algorithm, kid: randomUUID() };
  let provider;
  const server = createServer((request, response) => {
    const path = new URL(request.url, issuer).pathname;
    const document = /^\/documents\/(\w+)$/.exec(path);
    if (document) {
      return fetch(`${issuer}/.well-known/openid-configuration`, { headers: { connection: 'close' } }).then((answer) => answer.json()).then((whole) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify(DOCUMENTS[document[1]](whole)));
      }).catch((error) => { response.destroy(error); });
    }
    if (path.startsWith('/interaction/')) return provider.interactionFinished(request, response, { login: { accountId: `${algorithm}-${place}` } });
    return provider.callback()(request, response);
  });
  await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const names = cells(algorithm, place).map((cell) => cell.name);
  provider = new Provider(issuer, {
    clients: [{
      client_id: 'vestibule', client_secret: SECRET, redirect_uris: names.map((name) => `${ours}/federation/${name}/callback`), response_types: ['code'],
      id_token_signed_response_alg: algorithm, ...(place === 'signed_userinfo' && { userinfo_signed_response_alg: algorithm }),
    }],
    jwks: { keys: [key] },
    cookies: { keys: ['for tests alone'] },
    enabledJWA: { idTokenSigningAlgValues: ALGORITHMS, userinfoSigningAlgValues: ALGORITHMS },
    conformIdTokenClaims: place !== 'id_token',
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['given_name'] },
    features: { devInteractions: { enabled: false }, jwtUserinfo: { enabled: true } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.com`.toLowerCase(), email_verified: true, given_name: 'Dan' }) }),
    loadExistingGrant: async (context) => {
      const grant = new context.oidc.provider.Grant({ clientId: context.oidc.client.clientId, accountId: context.oidc.session.accountId });
      grant.addOIDCScope(context.oidc.params.scope);
      await grant.save();
      return grant;
    },
  });
  return { issuer, server };
}

function cells(algorithm, place) {
  return WAYS_BACK.flatMap((way) => Object.keys(DOCUMENTS).map((document) => ({
    name: [algorithm, place, way, document].join('-').toLowerCase().replaceAll('_', '.'), algorithm, place, way, document,
  })));
}

/** The configuration of a provider for one cell. */
function configured(cell, issuer) {
  const endpoints = cell.document === 'none'
    ? { authorization_endpoint: `${issuer}/auth`, token_endpoint: `${issuer}/token`, userinfo_endpoint: `${issuer}/me`, jwks_uri: `${issuer}/jwks` }
    : { discovery_url: `${issuer}/documents/${cell.document}` };
  return JSON.stringify({
    name: cell.name, issuer, client_id: 'vestibule', client_secret: SECRET, allow_private_network: true, response_mode: cell.way, ...endpoints,
    jit: { mode: 'silent' },
  });
}

/** Logs in once, as a browser does it: a form of another site is sent without cookies. */
async function login(name) {
  const browser = new Browser();
  let url = `${server.URL}/oauth2/authorize?${new URLSearchParams({
    response_type: 'code', client_id: server.CLIENT_ID, redirect_uri: BACK, scope: 'openid', state: 's', idp_hint: name,
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256',
  })}`;
  for (let hop = 0; hop < 12; hop += 1) {
    if (url.startsWith(BACK)) return new URL(url).searchParams.get('code') ?? Promise.reject(new Error(`no code: ${url}`));
    const response = await browser.request(url);
    const text = await response.text();
    const form = /<form method="post" action="([^"]+)">(.*?)<\/form>/s.exec(text);
    if (response.headers.get('location')) url = new URL(response.headers.get('location'), url).href;
    else if (form && form[1].includes('/federation/')) {
      const fields = [...form[2].matchAll(/name="([^"]*)" value="([^"]*)"/g)].map(([, field, value]) => [field, value.replaceAll('&amp;', '&')]);
      const posted = await fetch(form[1], { method: 'POST', redirect: 'manual', headers: { origin: new URL(url).origin, connection: 'close' }, body: new URLSearchParams(fields) });
      url = new URL(posted.headers.get('location') ?? 'about:blank', form[1]).href;
    } else throw new Error(`no way on at ${url}, status ${response.status}: ${text.replace(/<[^>]*>|\s+/g, ' ').slice(0, 200)}`);
  }
  throw new Error(`no end at ${url}`);
}

const pairs = ALGORITHMS.flatMap((algorithm) => PLACES.map((place) => [algorithm, place]));
const port = await freePort();
const ours = `http://127.0.0.1:${port}`;
const providers = [];
for (const [algorithm, place] of pairs) providers.push({ algorithm, place, ...(await start(algorithm, place)) });
const options = providers.flatMap(({ algorithm, place, issuer }) => cells(algorithm, place).flatMap((cell) => ['--identity-provider', configured(cell, issuer)]));
const server = await serve('--port', String(port), '--redirect-uri', BACK, ...options);

try {
  for (const { algorithm, place } of providers) for (const { name } of cells(algorithm, place)) await checks.works(`a login by ${name}`, () => login(name));
  for (const [algorithm, place] of pairs) {
    const { body } = await scim(server, 'GET', `/Users?count=0&filter=${encodeURIComponent(`emails.value eq "${algorithm}-${place}@example.com"`)}`);
    checks.that(`the address came with each login by ${algorithm} in ${place}`, body.totalResults === cells(algorithm, place).length, body.totalResults);
  }
} catch (error) {
  checks.that('the logins finished', false, error);
} finally {
  await server.stop();
  for (const { server: upstream } of providers) { upstream.closeAllConnections(); upstream.close(); }
  checks.finish();
}
