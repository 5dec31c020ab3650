// A provider of plain OAuth 2.0 in the shape of GitHub or of Facebook's Graph: no discovery, no ID token.
//   node oauth2-provider.mjs github|facebook PORT        REDIRECT_URIS=a,b
// github:   /login/oauth/authorize, /login/oauth/access_token (a form, or JSON if asked for; errors come with 200), /user, /user/emails
// facebook: /dialog/oauth, /oauth/access_token (JSON), /me with fields and appsecret_proof; errors are objects with status 400
// Control, for tests only:
//   GET /control/accounts, PATCH /control/accounts/LOGIN   merge into one account (github: {"login": "new"} renames it)
//   POST /control/next {"path":"/user","status":200,"type":"application/json","body":"…"}   the next answer there
//   POST /control/issuer "…"                               the iss of the next answer to the browser (RFC 9207); GitHub's own otherwise
//   GET|DELETE /control/requests                           the requests: method, path with query, authorization
//                                                          scheme, status
import { createHash, createHmac, randomBytes } from 'node:crypto';
import http from 'node:http';

const [, , shape, port] = process.argv;
const base = `http://127.0.0.1:${port}`;
const github = shape === 'github';
const client = { id: 'vestibule', secret: 'vestibule-at-oauth2', redirects: (process.env.REDIRECT_URIS || 'http://127.0.0.1:8080/federation/upstream/callback').split(',') };
const accounts = github ? [
  { id: 583231, login: 'octo', password: 'octo-at-upstream', name: 'Octo Cat', email: null,
    emails: [{ email: '583231+octo@noreply.example.com', primary: false, verified: true, visibility: null }, { email: 'octo@example.com', primary: true, verified: true, visibility: 'private' }] },
  { id: 480938, login: 'hubot', password: 'hubot-at-upstream', name: null, email: 'octo@example.com',
    emails: [{ email: 'hubot@example.com', primary: true, verified: false, visibility: 'public' }] },
] : [
  { id: '10218000000000001', login: 'fay', password: 'fay-at-upstream', name: 'Fay Book', first_name: 'Fay', last_name: 'Book', email: 'fay@example.com',
    email_verified: true, picture: { data: { height: 50, is_silhouette: false, url: 'https://example.com/fay.jpg', width: 50 } } },
];
const codes = new Map();
const tokens = new Map();
const requests = [];
let next = [];
let issuer; // of the next answer only

const escape = (text) => String(text ?? '').replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const answer = (response, status, type, body, headers) => { response.writeHead(status, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-store', ...headers }); response.end(body); };
const json = (response, status, value) => answer(response, status, 'application/json', JSON.stringify(value));
async function bodyOf(request) { let text = ''; for await (const chunk of request) text += chunk; return text; }

/** Shows the login form, and redirects back with a code. */
async function authorize(request, response, query) {
  const redirect = query.get('redirect_uri');
  if (query.get('client_id') !== client.id || !client.redirects.includes(redirect)) return answer(response, 404, 'text/html', 'Unknown application.');
  const back = (more) => {
    const url = new URL(redirect);
    const iss = issuer ?? (github ? 'https://github.com/login/oauth' : undefined);
    issuer = undefined;
    for (const [name, value] of Object.entries({ ...more, ...(iss && { iss }), state: query.get('state') ?? '' })) url.searchParams.set(name, value);
    return answer(response, 302, 'text/html', '', { location: url.href });
  };
  const form = (notice, status = 200) => answer(response, status, 'text/html', `<!doctype html><html lang="en"><title>Sign in</title><main><h1>Sign in at upstream</h1>${notice}
<form method="post" action=""><label>Name <input type="text" name="login" value="${escape(query.get('login'))}"></label>
<label>Password <input type="password" name="password"></label><button type="submit">Sign in</button></form></main></html>`);
  if (request.method !== 'POST') return query.get('deny') ? back({ error: 'access_denied' }) : form('');
  const sent = new URLSearchParams(await bodyOf(request));
  const account = accounts.find((a) => a.login === sent.get('login') && a.password === sent.get('password'));
  if (!account) return form('<p role="alert">Wrong name or password.</p>', 401);
  const code = randomBytes(10).toString('hex');
  codes.set(code, { account, redirect, challenge: query.get('code_challenge'), method: query.get('code_challenge_method'), scope: (query.get('scope') ?? '').split(/[ ,]+/) });
  return back({ code });
}

async function token(request, response) {
  const sent = new URLSearchParams(await bodyOf(request));
  const asJson = !github || (request.headers.accept ?? '').includes('json');
  const say = (value, status = 200) => (asJson ? json(response, status, value) : answer(response, status, 'application/x-www-form-urlencoded', new URLSearchParams(value).toString()));
  const refuse = (error, code) => (github ? say({ error, error_description: 'No.', error_uri: `${base}/docs#${error}` })
    : say({ error: { message: `Error: ${error}`, type: 'OAuthException', code, fbtrace_id: 'A1' } }, 400));
  if (sent.get('client_id') !== client.id || sent.get('client_secret') !== client.secret) return refuse('incorrect_client_credentials', 1);
  const grant = codes.get(sent.get('code'));
  codes.delete(sent.get('code'));
  const digest = createHash('sha256').update(sent.get('code_verifier') ?? '').digest('base64url');
  if (!grant || grant.redirect !== sent.get('redirect_uri')) return refuse('bad_verification_code', 100);
  if (grant.challenge && (grant.method !== 'S256' || grant.challenge !== digest)) return refuse('bad_verification_code', 100);
  const value = randomBytes(18).toString('hex');
  tokens.set(value, grant);
  return say(github ? { access_token: value, scope: grant.scope.join(','), token_type: 'bearer' } : { access_token: value, token_type: 'bearer', expires_in: 5183944 });
}

function profile(request, response, { pathname, searchParams }) {
  const [, value] = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
  const grant = tokens.get(value);
  if (!grant) return json(response, 401, github ? { message: 'Bad credentials', status: '401' } : { error: { message: 'Invalid OAuth access token', type: 'OAuthException', code: 190 } });
  const { password, login, emails, ...account } = grant.account;
  if (!github) {
    const proof = createHmac('sha256', client.secret).update(value).digest('hex');
    if (searchParams.get('appsecret_proof') !== proof) return json(response, 400, { error: { message: 'Invalid appsecret_proof provided in the API argument', type: 'GraphMethodException', code: 100 } });
    const fields = (searchParams.get('fields') ?? 'id,name').split(',').concat('email_verified');
    return json(response, 200, Object.fromEntries(Object.entries(account).filter(([name]) => fields.includes(name))));
  }
  if (pathname === '/user/emails') return grant.scope.includes('user:email') ? json(response, 200, emails) : json(response, 404, { message: 'Not Found', status: '404' });
  return json(response, 200, { ...account, login, node_id: 'MDQ6VXNlcjE=', avatar_url: `${base}/avatars/${account.id}`, html_url: `${base}/${login}`, type: 'User', site_admin: false });
}

async function control(request, response, path) {
  const [, , what, login] = path.split('/');
  const text = await bodyOf(request);
  if (what === 'accounts') { if (login) Object.assign(accounts.find((a) => a.login === login), JSON.parse(text)); return json(response, 200, accounts); }
  if (what === 'next') { next.push(JSON.parse(text)); return json(response, 200, next); }
  if (what === 'issuer') { issuer = JSON.parse(text); return json(response, 200, issuer); }
  if (what === 'requests') { if (request.method === 'DELETE') requests.length = 0; return json(response, 200, requests); }
  return json(response, 404, {});
}

async function serve(request, response) {
  const url = new URL(request.url, base);
  const path = url.pathname;
  if (path.startsWith('/control/')) return control(request, response, path);
  const scheme = (request.headers.authorization ?? '').split(' ')[0];
  response.on('finish', () => requests.push({ method: request.method, path: request.url, scheme, status: response.statusCode }));
  const planned = next.findIndex((n) => n.path === path);
  if (planned >= 0) { const [n] = next.splice(planned, 1); return answer(response, n.status ?? 200, n.type ?? 'application/json', n.body ?? '', n.headers); }
  if (path === (github ? '/login/oauth/authorize' : '/dialog/oauth')) return authorize(request, response, url.searchParams);
  if (path === (github ? '/login/oauth/access_token' : '/oauth/access_token')) return token(request, response);
  if (github ? path === '/user' || path === '/user/emails' : path === '/me') return profile(request, response, url);
  return json(response, 404, { message: 'Not Found' });
}

http.createServer((request, response) => serve(request, response).catch((error) => {
  console.error(error);
  if (!response.headersSent) answer(response, 500, 'text/plain', 'error');
})).listen(Number(port), '127.0.0.1');
