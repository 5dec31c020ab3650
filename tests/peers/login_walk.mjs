#!/usr/bin/env node
// A person in Chromium: relying party -> Vestibule -> external provider -> back; then a second login, and a local one.
//   login_walk.mjs [FOLDER]     screenshots go to FOLDER (target/screenshots); accessibility violations (axe) fail
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PASSWORD, checks, freePort, localUser, peer, scim, serve } from './rig.mjs';
import { launch, looker, settle } from './walk.mjs';

const folder = mkdtempSync(join(tmpdir(), 'vestibule-walk.'));
const port = await freePort();
const party = `http://127.0.0.1:${port}`;
const server = await serve('--upstream', '--redirect-uri', `${party}/callback`, '--provider', JSON.stringify({ post_logout_redirect_uris: [party] }));
const relying = peer('relying-party', folder, port, { OIDC_ISSUER: server.URL, OIDC_CLIENT_ID: server.CLIENT_ID, OIDC_CLIENT_SECRET: server.CLIENT_SECRET });
const browser = await launch();
const look = looker(server.URL, process.argv[2]);

/** Goes from page to page as a person would, until the browser is back at the relying party. */
async function walk(page, name, { account, password, through }) {
  const visited = [];
  page.on('framenavigated', (frame) => visited.push(new URL(frame.url()).host));
  for (let step = 0; step < 10 && !page.url().startsWith(party); step += 1) {
    await look(page, `${name}-${step + 1}`);
    const here = page.url();
    const secret = page.locator('input[type=password]:visible');
    const choice = page.locator('button:visible, a:visible').filter({ hasText: /upstream/i }).first();
    const ours = here.startsWith(server.URL);
    if (ours && through && await choice.count()) {
      await choice.click();
    } else {
      const login = page.locator('input[type=email]:visible, input[type=text]:visible').first();
      if (await secret.count() && await login.count()) await login.fill(account);
      for (let i = 0; i < await secret.count(); i += 1) await secret.nth(i).fill(password);
      const button = await secret.count() ? page.locator('form:has(input[type=password]) button[type=submit], form:has(input[type=password]) button:not([type])').first()
        : page.getByRole('button', { name: /continue|accept|allow|agree|next|sign in|log in|yes/i }).first();
      if (!await button.count()) break;
      await button.click();
    }
    await page.waitForURL((url) => url.href !== here, { timeout: 10_000 }).catch(() => {});
    await settle(page);
  }
  return visited;
}

/** Logs in once in a browser context; returns what the relying party received, and the visited hosts. */
async function login(context, name, who) {
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (message) => { if (message.type() === 'error' && message.location().url.startsWith(server.URL)) complaints.push(message.text()); });
  const began = Date.now();
  await page.goto(`${party}/`);
  await settle(page);
  const visited = await walk(page, name, who);
  const text = await page.locator('body').innerText();
  let seen;
  try { seen = JSON.parse(text); } catch { seen = { text: text.slice(0, 300), url: page.url() }; }
  checks.that(`${name}: back at the relying party with claims`, Boolean(seen.claims?.sub), seen);
  checks.that(`${name}: no error in the browser's console`, complaints.length === 0, complaints.join('; '));
  console.log(`      ${name}: ${visited.length} pages, ${Date.now() - began} ms`);
  await page.close();
  return { ...seen, visited };
}

/** Deletes the session cookies of the relying party, so that it asks for a login again. */
async function forget(context, origin) {
  const kept = (await context.cookies()).filter((cookie) => !cookie.name.startsWith('appSession'));
  await context.clearCookies();
  await context.addCookies(kept);
  checks.that(`the browser has forgotten ${new URL(origin).host}`, kept.length > 0, kept);
}

try {
  const alice = { account: 'alice@example.com', password: 'alice-at-upstream', through: true };
  const outside = await browser.newContext();
  const first = await login(outside, 'first-login', alice);
  checks.that('the login went through the external provider', first.visited.includes(new URL(server.OIDC_ISSUER).host), first.visited.join(' '));
  const found = (await scim(server, 'GET', '/Users?filter=userName%20eq%20%22alice%40example.com%22')).body;
  checks.that('the first login made one user', found.totalResults === 1, found);
  const made = found.Resources?.[0] ?? {};
  checks.that('the user has the names from the provider', made.name?.givenName === 'Alice' && made.name?.familyName === 'Liddell', made);
  checks.that('the relying party gets the e-mail address', (first.userinfo?.email ?? first.claims?.email) === 'alice@example.com', first);
  await outside.close();

  const returning = await browser.newContext();
  const second = await login(returning, 'second-login', alice);
  checks.that('the second login is the same user', second.claims?.sub === first.claims?.sub, second.claims);
  checks.that('the second login created no other user', (await scim(server, 'GET', '/Users')).body.totalResults === 1);
  await forget(returning, party);
  const third = await login(returning, 'third-login', alice);
  checks.that('a login with a session asks for nothing', third.claims?.sub === first.claims?.sub && !third.visited.includes(new URL(server.OIDC_ISSUER).host), third);
  const page = await returning.newPage();
  await page.goto(`${server.URL}/oauth2/logout`);
  await look(page, 'logout-question');
  checks.that('a logout without an ID token hint must be confirmed', await page.getByRole('heading', { name: 'Sign out?' }).count() === 1, await page.title());
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'signed out' }).waitFor();
  await look(page, 'logged-out');
  await page.goto(`${party}/logout`);
  await settle(page);
  checks.that('the logout of the relying party comes back to it', page.url().startsWith(party) || page.url().startsWith(server.URL), page.url());
  await returning.close();

  checks.that('a local user is made through SCIM', (await localUser(server, 'lee@example.com')).status === 201);
  const inside = await browser.newContext({ viewport: { width: 360, height: 640 } });
  const local = await login(inside, 'local-login', { account: 'lee@example.com', password: PASSWORD, through: false });
  checks.that('the local login is another person, without the external provider', local.claims?.sub !== first.claims?.sub && !local.visited.includes(new URL(server.OIDC_ISSUER).host));
  await inside.close();

  const refused = await browser.newContext();
  const wrong = await refused.newPage();
  await wrong.goto(`${party}/`);
  await wrong.locator('input[type=email]:visible, input[type=text]:visible').first().fill('lee@example.com');
  await wrong.locator('input[type=password]:visible').first().fill('not the password at all');
  await wrong.locator('form:has(input[type=password]) button').first().click();
  await wrong.waitForLoadState('load');
  await look(wrong, 'wrong-password');
  checks.that('a wrong password stays on the page, with an error', wrong.url().startsWith(server.URL) && await wrong.locator('[role=alert]').count() > 0, wrong.url());
  await wrong.route((url) => url.href.startsWith(party), (route) => route.abort('aborted'));
  await wrong.locator('input[type=password]:visible').first().fill(PASSWORD);
  await wrong.locator('form:has(input[type=password]) button').first().click();
  await wrong.getByRole('heading', { name: 'Redirecting to' }).waitFor();
  await look(wrong, 'on-the-way');
  checks.that('without a redirect there is a link to continue', (await wrong.getByRole('link', { name: /^Continue to/ }).getAttribute('href')).startsWith(`${party}/callback?code=`));
  await refused.close();

  const denied = await browser.newContext();
  const away = await denied.newPage();
  await away.goto(`${party}/`);
  await away.getByRole('button', { name: /upstream/i }).click();
  await away.getByRole('link', { name: 'Cancel' }).click();
  await away.waitForURL((url) => url.href.startsWith(server.URL));
  await look(away, 'refused-by-the-provider');
  await away.getByRole('link', { name: 'Try again' }).click();
  checks.that('a login that the provider refused can be tried again', await away.locator('input[type=password]').count() > 0, away.url());
  await away.goBack();
  await away.getByRole('link', { name: /^Back to/ }).click();
  await away.waitForURL((url) => url.href.startsWith(party));
  checks.that('going back to the relying party answers access_denied', (await away.locator('body').innerText()).includes('access_denied'), await away.locator('body').innerText());
  await away.goto(`${server.URL}/login`);
  await look(away, 'no-login');
  await away.goto(`${server.URL}/oauth2/authorize?client_id=nobody`);
  await look(away, 'unknown-application');
  await away.goto(`${server.URL}/nowhere`);
  await look(away, 'not-found');
  await away.goto(`${server.URL}/`);
  await look(away, 'home');
  await denied.close();

  checks.that('a local user has the user name of a person at the provider', (await localUser(server, 'carol@example.com')).status === 201);
  const linking = await browser.newContext();
  const carol = await linking.newPage();
  await carol.goto(`${party}/`);
  await carol.getByRole('button', { name: /upstream/i }).click();
  await carol.locator('input[type=email]').fill('carol@example.com');
  await carol.locator('input[type=password]').fill('carol-at-upstream');
  await carol.getByRole('button', { name: 'Sign in' }).click();
  await carol.waitForURL((url) => url.href.startsWith(server.URL));
  await look(carol, 'link-question');
  await carol.locator('input[type=password]').fill('not the password at all');
  await carol.getByRole('button', { name: 'Link the accounts' }).click();
  await carol.locator('[role=alert]').waitFor();
  await look(carol, 'link-wrong-password');
  await carol.locator('input[type=password]').fill(PASSWORD);
  await carol.getByRole('button', { name: 'Link the accounts' }).click();
  await carol.waitForURL((url) => url.href.startsWith(party));
  checks.that('the accounts are linked after the proof', (await carol.locator('body').innerText()).includes('carol@example.com'), carol.url());
  await linking.close();

  const noScripts = await browser.newContext({ javaScriptEnabled: false });
  const plain = await noScripts.newPage();
  await plain.goto(`${party}/`);
  checks.that('the login page works without JavaScript', await plain.locator('form input[type=password]').count() > 0, plain.url());
  await noScripts.close();
} catch (error) {
  checks.that('the walk finished', false, error);
} finally {
  await browser.close();
  relying.stop();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
  checks.finish();
}
