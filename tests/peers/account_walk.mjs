#!/usr/bin/env node
// A person in Chromium on the account page: views it, signs in again, changes every part, and signs out everywhere.
//   account_walk.mjs [FOLDER]     screenshots go to FOLDER (target/screenshots); accessibility violations (axe) fail
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checks, freePort, peer, scim, serve } from './rig.mjs';
import { launch, looker, settle } from './walk.mjs';

const GOOD = 'correct horse battery';
const PURPOSE = {
  name: 'letters', version: 1, title: { en: 'Letters', de: 'Briefe' }, text: { en: 'To write to you.', de: 'Um Ihnen zu schreiben.' },
  attributes: [{ path: 'name.givenName' }, { path: 'emails[type eq "work"].value', optional: true }],
};
const folder = mkdtempSync(join(tmpdir(), 'vestibule-account.'));
const browser = await launch();
const port = await freePort();
const party = `http://127.0.0.1:${port}`;
const jit = { mode: 'consent', username: { claim: 'email' }, purposes: ['letters'] };
const server = await serve('--upstream', '--redirect-uri', `${party}/callback`, '--jit', JSON.stringify(jit), '--purpose', JSON.stringify(PURPOSE));
const relying = peer('relying-party', join(folder, 'party'), port, { OIDC_ISSUER: server.URL, OIDC_CLIENT_ID: server.CLIENT_ID, OIDC_CLIENT_SECRET: server.CLIENT_SECRET });
const look = looker(server.URL, process.argv[2], 'account-');

/** Signs in at the identity provider; chooses it first if the browser is on a page of Vestibule. */
async function signIn(page, email = 'alice@example.com', password = 'alice-at-upstream') {
  if (page.url().startsWith(server.URL)) await page.locator('button[name=identity_provider]').first().click();
  await page.locator('input[type=email]').waitFor();
  await page.locator('input[type=email]').fill(email);
  await page.locator('input[type=password]').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL((url) => !url.href.startsWith(server.OIDC_ISSUER));
  await settle(page);
}
const alice = async () => (await scim(server, 'GET', '/Users?filter=userName%20eq%20%22alice@example.com%22')).body.Resources[0];
const text = (page) => page.locator('main').innerText();
/** The code that an authenticator shows for a key now (RFC 6238), or `later` steps from now. */
function code(key, later = 0) {
  const bits = [...key].map((sign) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(sign).toString(2).padStart(5, '0')).join('');
  const seed = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + later));
  const hash = createHmac('sha1', seed).update(step).digest();
  const at = hash[19] & 15;
  return String((hash.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

try {
  const context = await browser.newContext({ locale: 'en-GB' });
  const page = await context.newPage();
  await page.goto(`${party}/`);
  await signIn(page);
  await page.getByLabel('E-mail address').check();
  await page.getByRole('button', { name: 'Agree and continue' }).click();
  await page.waitForURL((url) => url.href.startsWith(party));

  await page.goto(`${server.URL}/account`);
  await look(page, 'whole');
  checks.that('a session opens the page', (await text(page)).includes('alice@example.com'));
  checks.that('it shows where a value comes from', /Alice\s+from /.test(await text(page)), await text(page));

  await page.getByLabel('Nickname').fill('Ali');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('status').waitFor();
  checks.that('people can edit their own values', (await alice()).nickName === 'Ali');

  await page.getByRole('button', { name: /^Stop storing/ }).click();
  await page.getByRole('status').waitFor();
  checks.that('a withdrawn consent removes the value', !(await alice()).emails);
  await page.locator('summary', { hasText: 'Unlink' }).click();
  await page.getByRole('button', { name: /^Yes, unlink/ }).click();
  await page.getByText('This is your last way to sign in').waitFor();
  await look(page, 'last-way-in');

  await page.getByLabel('New password').fill('short');
  await page.getByLabel('Confirm password').fill('short');
  await page.getByRole('button', { name: 'Set a password' }).click();
  await page.getByText('That password is too short').waitFor();
  await page.getByLabel('New password').fill(GOOD);
  await page.getByLabel('Confirm password').fill(GOOD);
  await page.getByRole('button', { name: 'Set a password' }).click();
  await page.getByText('Your new password is saved').waitFor();
  checks.that('the browser that changed the password stays signed in', (await text(page)).includes('Current password'));

  await page.getByRole('button', { name: 'Set up authenticator app' }).click();
  await look(page, 'enrol');
  const key = (await page.locator('.secret').innerText()).replace(/\s/g, '');
  await page.getByLabel('Verification code').fill('000000');
  await page.getByRole('button', { name: 'Turn on' }).click();
  await page.getByRole('alert').waitFor();
  await page.getByLabel('Verification code').fill(code(key));
  await page.getByRole('button', { name: 'Turn on' }).click();
  await page.locator('.codes').waitFor();
  await look(page, 'codes');
  const codes = await page.locator('.codes li').allInnerTexts();
  checks.that('there are ten recovery codes', codes.length === 10);
  checks.that('a script shows the button to print them', await page.getByRole('button', { name: 'Print' }).isVisible());
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download' }).click()]);
  const file = readFileSync(await download.path(), 'utf8');
  checks.that('the codes can be downloaded', download.suggestedFilename() === 'recovery-codes.txt' && codes.every((one) => file.includes(one)), file);
  await page.getByRole('button', { name: 'I have saved them' }).click();
  await settle(page);
  checks.that('the authenticator is set up', (await text(page)).includes('Recovery codes left: 10'));

  const phone = await browser.newContext({ locale: 'de-AT' });
  const german = await phone.newPage();
  await german.goto(`${server.URL}/account`);
  await look(german, 'anmelden');
  await german.getByLabel('Benutzername').fill('alice@example.com');
  await german.getByLabel('Passwort').fill(GOOD);
  await german.getByRole('button', { name: 'Anmelden' }).click();
  await german.getByLabel('Code').waitFor();
  await look(german, 'zweiter-schritt');
  await german.getByLabel('Code').fill(code(key, 1));
  await german.getByRole('button', { name: 'Weiter' }).click();
  await settle(german);
  await look(german, 'konto');
  checks.that('the other browser sees both sessions', await german.locator('section').last().locator('.rows > li').count() === 2);
  checks.that('each session has its own CSRF token', await german.locator('input[name=csrf]').first().getAttribute('value') !== await page.locator('input[name=csrf]').first().getAttribute('value'));

  await page.goto(`${server.URL}/account`);
  await page.locator('summary', { hasText: 'Sign out everywhere' }).click();
  await look(page, 'sure');
  await page.getByRole('button', { name: 'Yes, sign out everywhere' }).click();
  await page.getByText('You are signed out').first().waitFor();
  await look(page, 'signed-out');
  await german.goto(`${server.URL}/account`);
  checks.that('the other browser is signed out as well', await german.getByLabel('Benutzername').count() === 1);

  const forged = await context.request.post(`${server.URL}/account/sessions`, { form: { csrf: 'guessed' } });
  checks.that('a form posted without a session is refused', !(await forged.text()).includes('signed out'));
} catch (error) {
  checks.that('the walk finished', false, error);
} finally {
  relying.stop();
  await server.stop();
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
}
checks.finish();
