#!/usr/bin/env node
// Plain OAuth 2.0 in the shapes of GitHub and Facebook (scripts/peers/oauth2-provider.mjs), by their presets with other
// endpoints: logins, a renamed account, verified addresses, and invalid answers.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Browser, checks, freePort, peer, scim, serve } from './rig.mjs';

const BACK = 'http://127.0.0.1:9/callback'; // no server listens there: the driver reads the redirect
const folder = mkdtempSync(join(tmpdir(), 'vestibule-oauth2.'));
const port = await freePort();
const start = async (name) => peer(`${name}-like`, join(folder, name), await freePort(), { REDIRECT_URIS: `http://127.0.0.1:${port}/federation/${name}/callback` });
const [github, facebook] = [await start('github'), await start('facebook')];
const own = (name, facts, more) => ['--identity-provider', JSON.stringify({
  name, preset: name, client_id: facts.OAUTH2_CLIENT_ID, client_secret: facts.OAUTH2_CLIENT_SECRET, allow_private_network: true, ...more,
  jit: { mode: 'silent' },
})];
const server = await serve('--port', String(port), '--redirect-uri', BACK, ...own('github', github, {
  authorization_endpoint: `${github.OAUTH2_URL}/login/oauth/authorize`, token_endpoint: `${github.OAUTH2_URL}/login/oauth/access_token`,
  userinfo_endpoint: `${github.OAUTH2_URL}/user`, calls: [{ endpoint: `${github.OAUTH2_URL}/user/emails`, claim: 'emails' }],
  claims: [
    { from: '{{ name or login }}', to: 'displayName' }, { from: 'login', to: 'nickName' }, { from: 'email', to: 'emails[type eq "work"].value' },
    { from: '{% if email_verified %}verified{% else %}not verified{% endif %}', to: 'title' },
  ],
}), ...own('facebook', facebook, {
  authorization_endpoint: `${facebook.OAUTH2_URL}/dialog/oauth`, token_endpoint: `${facebook.OAUTH2_URL}/oauth/access_token`,
  userinfo_endpoint: `${facebook.OAUTH2_URL}/me?fields=id,name,first_name,last_name,email,picture`,
  claims: [
    { from: 'name', to: 'displayName' }, { from: '{{ last_name }}, {{ first_name }}', to: 'name.formatted' }, { from: 'email', to: 'emails[type eq "work"].value' },
    { from: '/picture/data/url', to: 'photos[type eq "photo"].value' }, { from: '{% if email_verified %}verified{% else %}not verified{% endif %}', to: 'title' },
  ],
}));

const log = () => readFileSync(server.LOG, 'utf8');
const control = (provider, method, path, body) => fetch(provider.OAUTH2_CONTROL + path, { method, body: body && JSON.stringify(body) }).then((response) => response.json());
const people = async () => (await scim(server, 'GET', '/Users?count=50')).body.Resources;

/** Logs in once, up to the application's code; throws an error with the page that refuses the login. */
const login = (idp, account, password) => new Browser().walk(`${server.URL}/oauth2/authorize?${new URLSearchParams({
  response_type: 'code', client_id: server.CLIENT_ID, redirect_uri: BACK, scope: 'openid', state: 's', idp_hint: idp,
  code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256',
})}`, BACK, account, password);

/** Checks that a login is refused, with this reason in the log. */
async function refused(name, reason, idp, account, password) {
  const from = log().length;
  let error = '';
  try { await login(idp, account, password); } catch (failure) { error = String(failure); }
  checks.that(name, /status [45]\d\d/.test(error) && !error.includes('alert(1)') && log().slice(from).includes(`a login through ${idp} failed: ${reason}:`), { error, log: log().slice(from).slice(0, 400) });
}

try {
  await checks.works('github: a first login', () => login('github', 'octo', 'octo-at-upstream'));
  let [octo] = await people();
  checks.that('github: the account has the primary address, which is verified', octo?.emails?.[0].value === 'octo@example.com' && octo.title === 'verified' && octo.displayName === 'Octo Cat', octo);
  const asked = await control(github, 'GET', '/requests');
  const calls = asked.filter(({ path }) => path.startsWith('/user'));
  checks.that('github: the token went into the header and never into a URL', calls.length === 2 && calls.every(({ scheme }) => scheme === 'Bearer') && !asked.some(({ path }) => /access_token=|client_secret=/.test(path)), asked);
  checks.that('github: the authorization request has a PKCE challenge', asked.some(({ path }) => path.includes('code_challenge_method=S256')));

  await checks.works('github: a second login', () => login('github', 'octo', 'octo-at-upstream'));
  checks.that('github: it is the same account', (await people()).length === 1 && (await people())[0].id === octo.id);

  await control(github, 'PATCH', '/accounts/octo', { login: 'octavia', name: 'Octavia' });
  await checks.works('github: a login after the name was changed there', () => login('github', 'octavia', 'octo-at-upstream'));
  const renamed = await people();
  checks.that('github: it is still the same account, with the new name', renamed.length === 1 && renamed[0].id === octo.id && renamed[0].nickName === 'octavia', renamed);

  await control(github, 'PATCH', '/accounts/hubot', { login: 'octo' });
  await checks.works('github: another account takes the old name', () => login('github', 'octo', 'hubot-at-upstream'));
  const both = await people();
  const other = both.find(({ id }) => id !== octo.id);
  checks.that('github: that person gets a separate account', both.length === 2 && other.nickName === 'octo' && other.displayName === 'octo', both);
  checks.that('github: the address of the public profile is ignored, and an unverified one counts as not verified', other?.emails?.[0].value === 'hubot@example.com' && other.title === 'not verified', other);

  await checks.works('facebook: a first login', () => login('facebook', 'fay', 'fay-at-upstream'));
  const fay = (await people()).find(({ displayName }) => displayName === 'Fay Book');
  checks.that('facebook: the claims are mapped, and the address never counts as verified', fay?.emails?.[0].value === 'fay@example.com' && fay.title === 'not verified' && fay.name.formatted === 'Book, Fay' && fay.photos?.[0].value === 'https://example.com/fay.jpg', fay);
  await checks.works('facebook: a second login', () => login('facebook', 'fay', 'fay-at-upstream'));
  const count = (await people()).length;
  checks.that('facebook: it is the same account', count === 3, count);

  const form = 'application/x-www-form-urlencoded';
  const TOKEN = '/login/oauth/access_token';
  const answers = [
    ['an error in a form with status 200', 'idp_error', { path: TOKEN, type: form, body: 'error=bad_verification_code&error_description=%3Cscript%3Ealert(1)%3C%2Fscript%3E' }],
    ['an error in JSON with status 200', 'idp_error', { path: TOKEN, body: '{"error":"incorrect_client_credentials"}' }],
    ['an error beside a token', 'idp_error', { path: TOKEN, body: '{"error":"bad_verification_code","access_token":"x","token_type":"bearer"}' }],
    ['no token', 'idp_unusable', { path: TOKEN, body: '{}' }],
    ['a token of another type', 'idp_unusable', { path: TOKEN, body: '{"access_token":"x","token_type":"mac"}' }],
    ['a page in place of a token', 'idp_unusable', { path: TOKEN, type: 'text/html', body: '<html>maintenance</html>' }],
    ['a redirect in place of a token', 'idp_unusable', { path: TOKEN, status: 302, headers: { location: `${github.OAUTH2_URL}/user` }, body: '{}' }],
    ['a server in trouble', 'idp_unavailable', { path: TOKEN, status: 503, type: 'text/html', body: 'down' }],
    ['a token that the API does not accept', 'idp_unusable', { path: TOKEN, body: '{"access_token":"x","token_type":"bearer"}' }],
    ['a list in place of a person', 'idp_unusable', { path: '/user', body: '[]' }],
    ['no addresses', 'idp_unusable', { path: '/user/emails', status: 404, body: '{"message":"Not Found"}' }],
    ['an answer without end', 'idp_unavailable', { path: '/user', body: `{"id":1,"x":"${'x'.repeat(2 << 20)}"}` }],
    ...['{}', '{"id":null}', '{"id":""}', '{"id":true}', '{"id":{}}', '{"id":1.5}'].map((body) => [`the subject of ${body}`, 'idp_no_subject', { path: '/user', body }]),
  ];
  for (const [name, reason, answer] of answers) {
    await control(github, 'POST', '/next', answer);
    await refused(`github: ${name} is refused as ${reason}`, reason, 'github', 'octavia', 'octo-at-upstream');
  }
  for (const [idp, provider, person, password] of [['github', github, 'octavia', 'octo-at-upstream'], ['facebook', facebook, 'fay', 'fay-at-upstream']]) {
    await control(provider, 'POST', '/issuer', 'https://accounts.example.org');
    await refused(`${idp}: an answer of another issuer is refused`, 'idp_mix_up', idp, person, password);
  }
  await control(facebook, 'POST', '/next', { path: '/me', status: 400, body: '{"error":{"message":"<script>alert(1)</script>","type":"OAuthException","code":190}}' });
  await refused('facebook: an error of the Graph is refused', 'idp_unusable', 'facebook', 'fay', 'fay-at-upstream');
  checks.that('no refusal made a user', (await people()).length === count);
  checks.that('the log contains no client secret', !log().includes(github.OAUTH2_CLIENT_SECRET));
} catch (error) {
  checks.that('the logins finished', false, error);
} finally {
  await server.stop();
  github.stop();
  facebook.stop();
  rmSync(folder, { recursive: true, force: true });
  checks.finish();
}
