// An OpenID provider with one defect per login, on request. It has no login form: every login succeeds.
//   node hostile-issuer.mjs PORT         REDIRECT_URIS=a,b
// Control, for tests only:
//   GET /control/defects                 the names of all defects
//   POST /control/next {"defect":"alg_none","claims":{…}}   the next login has this defect and these claims;
//                                        without a defect it is correct
import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import http from 'node:http';

const [, , port] = process.argv;
const issuer = `http://127.0.0.1:${port}`;
const client = { id: 'vestibule', secret: 'vestibule-at-hostile', redirects: (process.env.REDIRECT_URIS || 'http://127.0.0.1:8080/federation/upstream/callback').split(',') };
const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
const good = rsa();
const elliptic = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rogue = rsa(); // published by another issuer, and under /rogue/jwks
const jwk = (key, more) => ({ ...key.export({ format: 'jwk' }), use: 'sig', ...more });
const published = [jwk(good.publicKey, { kid: 'good', alg: 'RS256' }), jwk(elliptic.publicKey, { kid: 'curve', alg: 'ES256' })];

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const signed = (header, claims, make) => { const text = `${encode(header)}.${encode(claims)}`; return `${text}.${Buffer.from(make(text)).toString('base64url')}`; };
const rs256 = (key) => (text) => sign('sha256', Buffer.from(text), key);
const hs256 = (secret) => (text) => createHmac('sha256', secret).update(text).digest();
const honest = { alg: 'RS256', kid: 'good', typ: 'JWT' };
const pem = good.publicKey.export({ type: 'spki', format: 'pem' });

/** Defects of the claims; the signature is valid. */
const CLAIMS = {
  iss_other: (c) => { c.iss = 'https://accounts.example.org'; }, iss_slash: (c) => { c.iss += '/'; }, iss_missing: (c) => { delete c.iss; },
  aud_other: (c) => { c.aud = 'somebody-else'; }, aud_missing: (c) => { delete c.aud; }, aud_list_of_others: (c) => { c.aud = ['x', 'y']; },
  aud_list_without_azp: (c) => { c.aud = [client.id, 'other']; }, azp_other: (c) => { c.aud = [client.id, 'other']; c.azp = 'other'; }, azp_other_alone: (c) => { c.azp = 'other'; },
  nonce_missing: (c) => { delete c.nonce; }, nonce_other: (c) => { c.nonce = 'of-another-login'; },
  exp_past: (c) => { c.iat -= 9000; c.exp = c.iat + 60; }, exp_missing: (c) => { delete c.exp; },
  iat_future: (c) => { c.iat += 9000; c.exp = c.iat + 600; }, iat_missing: (c) => { delete c.iat; }, nbf_future: (c) => { c.nbf = c.iat + 9000; },
  sub_empty: (c) => { c.sub = ''; }, sub_missing: (c) => { delete c.sub; }, sub_number: (c) => { c.sub = 42; }, sub_long: (c) => { c.sub = 'x'.repeat(256); },
  at_hash_other: (c) => { c.at_hash = 'AAAAAAAAAAAAAAAAAAAAAA'; },
  email_verified_text: (c) => { c.email_verified = 'true'; }, email_verified_number: (c) => { c.email_verified = 1; },
};

/** Defects of the header or the signature. */
const TOKENS = {
  alg_none: (c) => signed({ alg: 'none', typ: 'JWT' }, c, () => ''),
  alg_None: (c) => signed({ alg: 'None', typ: 'JWT' }, c, () => ''),
  alg_hs256_public_key: (c) => signed({ ...honest, alg: 'HS256' }, c, hs256(pem)),
  alg_hs256_client_secret: (c) => signed({ alg: 'HS256', typ: 'JWT' }, c, hs256(client.secret)),
  es256_zero_signature: (c) => signed({ alg: 'ES256', kid: 'curve', typ: 'JWT' }, c, () => Buffer.alloc(64)),
  signature_cut: (c) => signed(honest, c, (text) => rs256(good.privateKey)(text).subarray(0, -8)),
  key_of_another_issuer: (c) => signed(honest, c, rs256(rogue.privateKey)),
  kid_unknown: (c) => signed({ ...honest, kid: 'never-published' }, c, rs256(rogue.privateKey)),
  jwk_header: (c) => signed({ alg: 'RS256', typ: 'JWT', jwk: rogue.publicKey.export({ format: 'jwk' }) }, c, rs256(rogue.privateKey)),
  jku_header: (c) => signed({ ...honest, kid: 'rogue', jku: `${issuer}/rogue/jwks` }, c, rs256(rogue.privateKey)),
  crit_header: (c) => signed({ ...honest, crit: ['b64'], b64: true }, c, rs256(good.privateKey)),
  typ_logout: (c) => signed({ ...honest, typ: 'logout+jwt' }, c, rs256(good.privateKey)),
  garbage: () => 'not.a.jwt',
};

/** Defects of the redirect, the token response and userinfo. */
const OTHER = ['code_of_another_login', 'iss_of_another_issuer', 'iss_withheld', 'state_other', 'userinfo_other_sub', 'no_id_token', 'token_error', 'access_denied'];

const codes = new Map();
const tokens = new Map();
let planned = {};
let former; // a code of an earlier login

const json = (response, status, value) => { response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' }); response.end(JSON.stringify(value)); };
async function bodyOf(request) { let text = ''; for await (const chunk of request) text += chunk; return text; }

function authorize(response, query) {
  if (query.get('client_id') !== client.id || !client.redirects.includes(query.get('redirect_uri'))) return json(response, 400, { error: 'invalid_request' });
  const { defect, claims } = planned;
  planned = {};
  const code = randomBytes(12).toString('hex');
  codes.set(code, { defect, claims, nonce: query.get('nonce') });
  const url = new URL(query.get('redirect_uri'));
  const sent = { code, state: query.get('state'), iss: issuer };
  if (defect === 'code_of_another_login') sent.code = former;
  if (defect === 'iss_of_another_issuer') sent.iss = 'https://accounts.example.org';
  if (defect === 'iss_withheld') delete sent.iss;
  if (defect === 'state_other') sent.state = 'of-another-login';
  if (defect === 'access_denied') { delete sent.code; sent.error = 'access_denied'; sent.error_description = '<script>alert(1)</script>'; }
  // A correct login also issues a code that is not redeemed, as if for another browser: it has another nonce.
  if (!defect) { former = randomBytes(12).toString('hex'); codes.set(former, { claims, nonce: 'of-another-login' }); }
  for (const [name, value] of Object.entries(sent)) url.searchParams.set(name, value ?? '');
  response.writeHead(302, { location: url.href });
  return response.end();
}

async function token(request, response) {
  const sent = new URLSearchParams(await bodyOf(request));
  const login = codes.get(sent.get('code'));
  codes.delete(sent.get('code'));
  if (!login || login.defect === 'token_error') return json(response, 400, { error: 'invalid_grant', error_description: '<script>alert(1)</script>' });
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: issuer, sub: 'mallory-1', aud: client.id, iat: now, exp: now + 300, nonce: login.nonce, email: 'mallory@example.com', email_verified: true, name: 'Mallory', ...login.claims };
  CLAIMS[login.defect]?.(claims);
  const idToken = TOKENS[login.defect]?.(claims) ?? signed(honest, claims, rs256(good.privateKey));
  const access = randomBytes(12).toString('hex');
  tokens.set(access, { ...login, sub: claims.sub });
  return json(response, 200, { access_token: access, token_type: 'Bearer', expires_in: 300, ...(login.defect === 'no_id_token' ? {} : { id_token: idToken }) });
}

function userinfo(request, response) {
  const login = tokens.get((request.headers.authorization ?? '').replace(/^Bearer /, ''));
  if (!login) return json(response, 401, { error: 'invalid_token' });
  return json(response, 200, { sub: login.defect === 'userinfo_other_sub' ? 'somebody-else' : login.sub, nickname: 'mal', locale: 'en' });
}

async function serve(request, response) {
  const url = new URL(request.url, issuer);
  switch (url.pathname) {
    case '/.well-known/openid-configuration': return json(response, 200, {
      issuer, authorization_endpoint: `${issuer}/authorize`, token_endpoint: `${issuer}/token`, userinfo_endpoint: `${issuer}/userinfo`, jwks_uri: `${issuer}/jwks`,
      response_types_supported: ['code'], subject_types_supported: ['public'], authorization_response_iss_parameter_supported: true,
      id_token_signing_alg_values_supported: ['RS256', 'ES256', 'HS256', 'none'], token_endpoint_auth_methods_supported: ['client_secret_post'],
    });
    case '/jwks': return json(response, 200, { keys: published });
    case '/rogue/jwks': return json(response, 200, { keys: [jwk(rogue.publicKey, { kid: 'rogue', alg: 'RS256' })] });
    case '/authorize': return authorize(response, url.searchParams);
    case '/token': return token(request, response);
    case '/userinfo': return userinfo(request, response);
    case '/control/defects': return json(response, 200, [...Object.keys(CLAIMS), ...Object.keys(TOKENS), ...OTHER]);
    case '/control/next': planned = JSON.parse(await bodyOf(request)); return json(response, 200, planned);
    default: return json(response, 404, {});
  }
}

http.createServer((request, response) => serve(request, response).catch((error) => {
  console.error(error);
  if (!response.headersSent) json(response, 500, {});
})).listen(Number(port), '127.0.0.1');
