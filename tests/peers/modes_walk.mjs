#!/usr/bin/env node
// A person in Chromium at a first login that asks questions, with one Vestibule per JIT mode.
//   modes_walk.mjs [FOLDER]     screenshots go to FOLDER (target/screenshots); accessibility violations (axe) fail
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checks, freePort, localUser, peer, scim, serve } from './rig.mjs';
import { launch, looker, settle } from './walk.mjs';

const GOOD = 'correct horse battery';
const PROFILE = {
  name: 'profile', version: 1,
  title: { en: 'Your profile', de: 'Ihr Profil' },
  text: { en: 'Colleagues see it beside what you write.', de: 'Kollegen sehen es neben dem, was Sie schreiben.' },
  retention: { en: 'as long as you have an account', de: 'solange Sie ein Konto haben' },
  jurisdiction: 'EU', policy_url: 'https://example.com/privacy',
  attributes: [{ path: 'name.givenName' }, { path: 'emails[type eq "work"].value', optional: true }, { path: 'nickName' }],
};
const folder = mkdtempSync(join(tmpdir(), 'vestibule-modes.'));
const browser = await launch();

/** Runs `walk` with a Vestibule in one JIT mode and its relying party. */
async function inMode(mode, jit, walk) {
  const port = await freePort();
  const party = `http://127.0.0.1:${port}`;
  const server = await serve('--upstream', '--redirect-uri', `${party}/callback`, '--jit', JSON.stringify({ mode, ...jit }), '--purpose', JSON.stringify(PROFILE));
  const relying = peer('relying-party', join(folder, mode), port, { OIDC_ISSUER: server.URL, OIDC_CLIENT_ID: server.CLIENT_ID, OIDC_CLIENT_SECRET: server.CLIENT_SECRET });
  try {
    await walk({ server, party, look: looker(server.URL, process.argv[2], `${mode}-`) });
  } catch (error) {
    checks.that(`${mode}: the walk finished`, false, error);
  } finally {
    relying.stop();
    await server.stop();
  }
}

/** Signs in at the provider in a new browser; returns its page, which shows Vestibule's question or the application. */
async function arrive({ server, party }, email, password, locale = 'en-GB') {
  const context = await browser.newContext({ locale });
  const page = await context.newPage();
  await page.goto(`${party}/`);
  await page.locator('button[name=identity_provider]').click();
  await page.locator('input[type=email]').fill(email);
  await page.locator('input[type=password]').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL((url) => !url.href.startsWith(server.OIDC_ISSUER));
  await settle(page);
  return page;
}

const alice = ['alice@example.com', 'alice-at-upstream'];
const users = async (server) => (await scim(server, 'GET', '/Users')).body;
const claims = async (page, party) => {
  await page.waitForURL((url) => url.href.startsWith(party));
  return JSON.parse(await page.locator('body').innerText()).claims;
};
/** Whether the browser refuses to submit the form as it is. */
const stays = async (page) => !(await page.locator('form').first().evaluate((form) => form.checkValidity()));

await inMode('consent', { purposes: ['profile'] }, async ({ server, party, look }) => {
  const page = await arrive({ server, party }, ...alice);
  await look(page, 'question');
  checks.that('values from the provider are shown and cannot be edited', (await page.locator('main').innerText()).includes('Alice') && await page.locator('input[value="Alice"]').count() === 0);
  checks.that('optional attributes are not ticked', !await page.getByRole('checkbox', { name: 'E-mail address' }).isChecked());
  checks.that('missing values must be filled in', await stays(page));
  await page.getByRole('button', { name: 'I do not agree' }).click();
  await look(page, 'refused');
  checks.that('refusing consent creates no account', (await users(server)).totalResults === 0 && await page.getByText('consent_refused').count() === 1);
  await page.getByRole('link', { name: /^Back to/ }).click();
  await page.waitForURL((url) => url.href.startsWith(party));
  checks.that('the application gets access_denied', (await page.locator('body').innerText()).includes('access_denied'));

  const german = await arrive({ server, party }, ...alice, 'de-AT');
  await look(german, 'frage');
  checks.that('the page speaks the language of the browser', await german.locator('html').getAttribute('lang') === 'de' && await german.getByRole('heading', { name: 'Ihr Profil' }).count() === 1);
  const second = await german.context().newPage();
  await second.goto(`${server.URL}/login`);
  await german.getByLabel('Rufname').fill('Ali');
  await german.getByRole('button', { name: 'Zustimmen und fortfahren' }).click();
  checks.that('consent completes the login', Boolean((await claims(german, party)).sub));
  const made = (await users(server)).Resources?.[0] ?? {};
  checks.that('the account has only the agreed and filled-in values', made.nickName === 'Ali' && made.name?.givenName === 'Alice' && !made.emails, made);
  await second.getByLabel('Rufname').fill('Other');
  await second.getByRole('button', { name: 'Zustimmen und fortfahren' }).click();
  await second.getByText('expired_login').waitFor();
  checks.that('a second tab that is late changes nothing', (await users(server)).Resources[0].meta.version === made.meta.version);
  const again = await arrive({ server, party }, ...alice);
  checks.that('the next login asks for nothing', again.url().startsWith(party), again.url());
});

await inMode('password_consent', {}, async ({ server, party, look }) => {
  const page = await arrive({ server, party }, ...alice);
  await look(page, 'question');
  for (const [one, two, code] of [['short', 'short', 'too short'], ['Password1234', 'Password1234', 'easy to guess'], ['alice@example.com', 'alice@example.com', 'your username'], [GOOD, 'another one altogether', 'do not match']]) {
    await page.getByLabel('New password').fill(one);
    await page.getByLabel('Confirm password').fill(two);
    await page.getByRole('button', { name: 'Agree and continue' }).click();
    await page.getByRole('alert').filter({ hasText: code }).waitFor();
    checks.that(`an unacceptable password is asked for again: ${code}`, await page.locator('input[type=password]').first().inputValue() === '');
  }
  await look(page, 'will-not-do');
  await page.getByLabel('New password').fill(GOOD);
  await page.getByLabel('Confirm password').fill(GOOD);
  await page.getByRole('button', { name: 'Agree and continue' }).click();
  const { sub } = await claims(page, party);
  const local = await (await browser.newContext()).newPage();
  await local.goto(`${party}/`);
  await local.getByLabel('Username').fill('alice@example.com');
  await local.getByLabel('Password').fill(GOOD);
  await local.getByRole('button', { name: 'Sign in' }).click();
  checks.that('the chosen password signs in to the same account', (await claims(local, party)).sub === sub);
});

await inMode('username_password_consent', {}, async ({ server, party, look }) => {
  checks.that('another user has the derived user name', (await localUser(server, 'alice@example.com', { displayName: 'The other Alice' })).status === 201);
  const page = await arrive({ server, party }, ...alice);
  await look(page, 'whose-account');
  await page.getByRole('button', { name: 'Choose another username' }).click();
  await page.getByLabel('Username').waitFor();
  await look(page, 'question');
  const answer = async (name) => {
    await page.getByLabel('Username').fill(name);
    await page.getByLabel('New password').fill(GOOD);
    await page.getByLabel('Confirm password').fill(GOOD);
    await page.getByRole('button', { name: 'Agree and continue' }).click();
  };
  await answer('ALICE@example.com');
  await page.getByRole('alert').filter({ hasText: 'taken' }).waitFor();
  await look(page, 'taken');
  const other = (await users(server)).Resources;
  checks.that('choosing a taken user name leaves its account unchanged', other.length === 1 && other[0].displayName === 'The other Alice' && other[0].meta.version === 'W/"1"', other);
  await answer('wonder.alice');
  await claims(page, party);
  checks.that('a free user name creates the account', (await users(server)).Resources.some((user) => user.userName === 'wonder.alice'));
});

await browser.close();
rmSync(folder, { recursive: true, force: true });
checks.finish();
