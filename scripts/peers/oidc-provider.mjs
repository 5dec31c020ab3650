// An external OpenID provider: npm oidc-provider with a login form, accounts from a file, and a control surface.
//   node oidc-provider.mjs DIR PORT        MODULES=folder with node_modules, REDIRECT_URIS=a,b,
//                                        POST_LOGOUT_REDIRECT_URIS=a,b, ACCOUNTS=file
// Control, for tests only:
//   GET /control/accounts                  all accounts, by subject
//   PUT|PATCH|DELETE /control/accounts/SUB set, merge or remove one
//   POST /control/rotate-keys {"keep":n}   a new signing key, the newest n old ones stay published (default 1)
//   POST /control/faults [{"path":"/token","status":503,"times":1,"hang":false}]
//   GET|DELETE /control/requests           the requests: method, path, status
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import http from 'node:http';

const [, , folder, port] = process.argv;
const resolve = createRequire(join(process.env.MODULES, 'x.js')).resolve;
const load = (name) => import(pathToFileURL(resolve(name)).href);
const { Provider } = await load('oidc-provider');
const { generateKeyPair, exportJWK } = await load('jose');

const issuer = `http://127.0.0.1:${port}`;
const redirects = (process.env.REDIRECT_URIS || 'http://127.0.0.1:8080/federation/upstream/callback').split(',');
const accountsFile = process.env.ACCOUNTS || join(folder, 'accounts.json');
if (!existsSync(accountsFile)) {
  writeFileSync(accountsFile, JSON.stringify({
    1001: { password: 'alice-at-upstream', email: 'alice@example.com', email_verified: true, name: 'Alice Liddell', given_name: 'Alice', family_name: 'Liddell', locale: 'en' },
    1002: { password: 'bob-at-upstream', email: 'bob@example.com', email_verified: false, name: 'Bob Ünïcode', given_name: 'Bob', family_name: 'Ünïcode', locale: 'fi' },
    1003: { password: 'carol-at-upstream', email: 'carol@example.com', email_verified: true, name: 'Carol' },
  }, null, 1));
}
const accounts = JSON.parse(readFileSync(accountsFile, 'utf8'));

async function newKey() {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { ...(await exportJWK(privateKey)), use: 'sig', alg: 'RS256', kid: randomUUID() };
}

let keys = [await newKey()];
let faults = [];
const requests = [];

function build() {
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'vestibule', client_secret: 'vestibule-at-upstream', redirect_uris: redirects,
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
      post_logout_redirect_uris: (process.env.POST_LOGOUT_REDIRECT_URIS || '').split(',').filter(Boolean),
    }],
    jwks: { keys },
    cookies: { keys: ['for tests alone'] },
    conformIdTokenClaims: false, // e-mail and names sit in the ID token, as at Google
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'given_name', 'family_name', 'locale', 'groups'] },
    scopes: ['openid', 'email', 'profile', 'offline_access'],
    features: { devInteractions: { enabled: false }, revocation: { enabled: true }, userinfo: { enabled: true } },
    pkce: { required: () => false },
    interactions: { url: (_, interaction) => `/login/${interaction.uid}` },
    ttl: { AccessToken: 3600, AuthorizationCode: 60, IdToken: 3600, Interaction: 600, Session: 86400, Grant: 86400 },
    findAccount: (_, id) => accounts[id] && {
      accountId: id,
      claims: () => { const { password, ...claims } = accounts[id]; return { sub: id, ...claims }; },
    },
    // No consent is asked for: the client is trusted.
    loadExistingGrant: async (context) => {
      const grant = new context.oidc.provider.Grant({ clientId: context.oidc.client.clientId, accountId: context.oidc.session.accountId });
      grant.addOIDCScope(context.oidc.params.scope);
      await grant.save();
      return grant;
    },
    renderError: (context, out) => { context.type = 'html'; context.body = page('Error', `<p id="error">${out.error}</p>`); },
  });
  provider.on('server_error', (_, error) => console.error(error));
  return { provider, handle: provider.callback() };
}

let current = build();
const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><main><h1>${title}</h1>${body}</main></html>`;
const html = (response, status, text) => { response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }); response.end(text); };
const json = (response, value) => { response.writeHead(200, { 'content-type': 'application/json' }); response.end(JSON.stringify(value)); };
async function bodyOf(request) { let text = ''; for await (const chunk of request) text += chunk; return text; }

async function control(request, response, path) {
  const [, , what, id] = path.split('/');
  const text = await bodyOf(request);
  const body = text ? JSON.parse(text) : {};
  if (what === 'accounts') {
    if (request.method === 'PUT') accounts[id] = body;
    if (request.method === 'PATCH') Object.assign(accounts[id], body);
    if (request.method === 'DELETE') delete accounts[id];
    return json(response, id ? accounts[id] ?? null : accounts);
  }
  if (what === 'rotate-keys') {
    keys = [await newKey(), ...keys.slice(0, body.keep ?? 1)];
    current = build();
    return json(response, keys.map((key) => key.kid));
  }
  if (what === 'faults') { faults = body; return json(response, faults); }
  if (what === 'requests') { if (request.method === 'DELETE') requests.length = 0; return json(response, requests); }
  return html(response, 404, page('No such control', ''));
}

async function login(request, response, path) {
  const { provider } = current;
  const { uid, params } = await provider.interactionDetails(request, response);
  const form = (notice) => page('Sign in at upstream', `${notice}
<form method="post" action="/login/${uid}">
<label>E-mail <input name="email" type="email" autocomplete="username" value="${String(params.login_hint ?? '').replace(/[^\w@.+-]/g, '')}"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button type="submit">Sign in</button></form><p><a href="/login/${uid}/cancel">Cancel</a></p>`);
  if (path.endsWith('/cancel')) return provider.interactionFinished(request, response, { error: 'access_denied' });
  if (request.method === 'GET') return html(response, 200, form(''));
  const sent = new URLSearchParams(await bodyOf(request));
  const found = Object.entries(accounts).find(([, a]) => a.email === sent.get('email') && a.password === sent.get('password'));
  if (!found) return html(response, 401, form('<p role="alert">Wrong e-mail or password.</p>'));
  return provider.interactionFinished(request, response, { login: { accountId: found[0], remember: true } });
}

async function serve(request, response) {
  const path = new URL(request.url, issuer).pathname;
  if (path.startsWith('/control/')) return control(request, response, path);
  response.on('finish', () => requests.push({ method: request.method, path, status: response.statusCode }));
  const fault = faults.find((f) => path.startsWith(f.path) && (f.times ?? 1) > 0);
  if (fault) {
    fault.times = (fault.times ?? 1) - 1;
    if (fault.hang) return undefined;
    response.writeHead(fault.status ?? 500, { 'content-type': 'application/json' });
    return response.end('{"error":"server_error"}');
  }
  if (path.startsWith('/login/')) return login(request, response, path);
  return current.handle(request, response);
}

http.createServer((request, response) => serve(request, response).catch((error) => {
  console.error(error);
  if (!response.headersSent) html(response, error.statusCode || 500, page('Error', `<p id="error">${error.name}</p>`));
})).listen(Number(port), '127.0.0.1');
