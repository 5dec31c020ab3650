#!/usr/bin/env node
// An OpenID provider with one defect at a time (scripts/peers/hostile-issuer.mjs): every defect ends on an error page,
// creates no user, and is in the log with its own reason.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Browser, checks, freePort, peer, scim, serve } from './rig.mjs';

const BACK = 'http://127.0.0.1:9/callback'; // no server listens there: the driver reads the redirect
const folder = mkdtempSync(join(tmpdir(), 'vestibule-hostile.'));
const port = await freePort();
const hostile = peer('hostile-issuer', folder, await freePort(), { REDIRECT_URIS: `http://127.0.0.1:${port}/federation/hostile/callback` });
const server = await serve('--port', String(port), '--redirect-uri', BACK, '--identity-provider', JSON.stringify({
  name: 'hostile', issuer: hostile.OIDC_ISSUER, client_id: hostile.OIDC_CLIENT_ID, client_secret: hostile.OIDC_CLIENT_SECRET, allow_private_network: true,
  jit: { mode: 'silent', username: { claim: 'email' } },
}));

/** Each defect, and its reason in the log. */
const REFUSED = {
  alg_none: 'id_token_alg', alg_None: 'id_token_alg', alg_hs256_public_key: 'id_token_alg', alg_hs256_client_secret: 'id_token_alg',
  es256_zero_signature: 'id_token_signature', signature_cut: 'id_token_signature', key_of_another_issuer: 'id_token_signature',
  kid_unknown: 'id_token_kid', jwk_header: 'id_token_kid', jku_header: 'id_token_kid', crit_header: 'id_token_header', typ_logout: 'id_token_header',
  garbage: 'id_token_malformed', no_id_token: 'id_token_missing',
  iss_other: 'id_token_iss', iss_slash: 'id_token_iss', iss_missing: 'id_token_iss',
  aud_other: 'id_token_aud', aud_missing: 'id_token_aud', aud_list_of_others: 'id_token_aud',
  aud_list_without_azp: 'id_token_azp', azp_other: 'id_token_azp', azp_other_alone: 'id_token_azp',
  nonce_missing: 'id_token_nonce', nonce_other: 'id_token_nonce', code_of_another_login: 'id_token_nonce',
  exp_past: 'id_token_exp', exp_missing: 'id_token_exp', iat_future: 'id_token_iat', iat_missing: 'id_token_iat', nbf_future: 'id_token_nbf',
  sub_empty: 'id_token_sub', sub_missing: 'id_token_sub', sub_number: 'id_token_sub', sub_long: 'id_token_sub',
  at_hash_other: 'id_token_at_hash', userinfo_other_sub: 'userinfo_sub',
  iss_of_another_issuer: 'idp_mix_up', iss_withheld: 'idp_mix_up', token_error: 'idp_error',
};
/** Defects that end on another page, with its code. */
const PAGES = { state_other: 'expired_login', access_denied: 'provider_refused' };
/** Defects of `email_verified` only: the address counts as not verified. */
const HARMLESS = ['email_verified_text', 'email_verified_number'];

const log = () => readFileSync(server.LOG, 'utf8');
const users = async () => (await scim(server, 'GET', '/Users?count=0')).body.totalResults;
const plan = (body) => fetch(`${hostile.OIDC_CONTROL}/next`, { method: 'POST', body: JSON.stringify(body) });

/** Logs in once; returns the page or the redirect at the end. */
async function login(defect, claims) {
  await plan({ defect, claims });
  const browser = new Browser();
  const challenge = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
  let url = `${server.URL}/oauth2/authorize?${new URLSearchParams({ response_type: 'code', client_id: server.CLIENT_ID, redirect_uri: BACK, scope: 'openid', state: 's', code_challenge: challenge, code_challenge_method: 'S256', idp_hint: 'hostile' })}`;
  for (let hop = 0; hop < 10; hop += 1) {
    const response = await browser.request(url);
    const text = await response.text();
    const onward = response.headers.get('location') ?? /<meta http-equiv="refresh" content="\d+; ?url=([^"]*)"/i.exec(text)?.[1].replaceAll('&amp;', '&').replaceAll('&#38;', '&');
    if (!onward) return { status: response.status, text, code: /<dd>([a-z_]+)<\/dd>/.exec(text)?.[1] };
    url = new URL(onward, url).href;
    if (url.startsWith(BACK)) return { place: new URL(url) };
  }
  return { text: `no end at ${url}` };
}

try {
  const told = await (await fetch(`${hostile.OIDC_CONTROL}/defects`)).json();
  const known = [...Object.keys(REFUSED), ...Object.keys(PAGES), ...HARMLESS];
  checks.that('every defect of the issuer is expected here', told.length === known.length && told.every((defect) => known.includes(defect)), told.filter((defect) => !known.includes(defect)));

  // An honest login of another person comes first: it creates the account, and leaves a code of another login.
  const honest = await login(undefined, { sub: 'honest-1', email: 'honest@example.com', name: 'Honest' });
  checks.that('an honest login comes back with a code', honest.place?.searchParams.has('code'), honest);
  const before = await users();
  checks.that('it made one user', before === 1, before);

  for (const [defect, reason] of Object.entries(REFUSED)) {
    const from = log().length;
    const end = await login(defect);
    const page = end.status === 400 && !end.place && end.code !== undefined && !end.text.includes('<script>alert(1)');
    const noted = log().slice(from).includes(`a login through hostile failed: ${reason}:`);
    checks.that(`${defect}: refused on the page ${end.code}, and in the log as ${reason}`, page && noted, { ...end, text: undefined, log: log().slice(from).slice(0, 300) });
  }
  for (const [defect, code] of Object.entries(PAGES)) {
    const end = await login(defect);
    checks.that(`${defect}: ends on the page ${code}`, !end.place && end.status >= 400 && end.code === code && !end.text.includes('<script>alert(1)'), { ...end, text: end.text?.slice(0, 200) });
  }
  const after = await users();
  checks.that('no defect created a user', after === before, after);

  // An `email_verified` that is a text or a number does not count: the person is asked for a proof of the account with that
  // user name. It has no password, so its own identity is the proof.
  for (const defect of HARMLESS) {
    const end = await login(defect, { sub: `harmless-${defect}`, email: 'honest@example.com' });
    checks.that(`${defect}: the account with that user name is not handed over`, !end.place && end.status === 200 && /action="?\/login\/prove/.test(end.text) && !/type="?password/.test(end.text), { ...end, text: end.text?.slice(0, 200) });
  }
  checks.that('these logins created no user', (await users()) === before);
  checks.that('the log contains no client secret', !log().includes(hostile.OIDC_CLIENT_SECRET));
} catch (error) {
  checks.that('the logins finished', false, error);
} finally {
  await server.stop();
  hostile.stop();
  rmSync(folder, { recursive: true, force: true });
  checks.finish();
}
