// Shared by the walks in a browser: Chromium, screenshots in both themes and on a small phone, and accessibility checks
// (axe).
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { HERE, checks, packages } from './rig.mjs';

const load = packages('browser');
const { chromium } = (await load('playwright-core')).default;
const { AxeBuilder } = await load('@axe-core/playwright');

export const launch = () => chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking'] });

/** Returns look(page, name), which takes a screenshot, and checks the page if it is of the server at `ours`. */
export function looker(ours, folder, prefix = '') {
  const shots = folder || join(HERE, '../../target/screenshots');
  mkdirSync(shots, { recursive: true });
  let number = 0;
  return async (page, name) => {
    number += 1;
    const shoot = (how) => page.screenshot({ path: join(shots, `${prefix}${String(number).padStart(2, '0')}-${name}${how}.png`), fullPage: true });
    await shoot('');
    if (!page.url().startsWith(ours)) return;
    const size = page.viewportSize();
    for (const theme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
      const { violations } = await new AxeBuilder({ page }).analyze();
      checks.that(`${name}, ${theme}: accessible (${await page.title()})`, violations.length === 0, violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`).join('; '));
    }
    await shoot('-dark');
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize({ width: 320, height: 640 });
    await shoot('-320');
    checks.that(`${name}: the page fits into 320 pixels`, await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
    await page.setViewportSize(size);
    await page.emulateMedia({ colorScheme: null });
  };
}

/** Waits until the browser is on a page that does not redirect. */
export async function settle(page) {
  for (let hop = 0; hop < 5; hop += 1) {
    const here = page.url();
    await page.waitForLoadState('load');
    const onward = await page.locator('meta[http-equiv="refresh"]').count().catch(() => 1);
    if (!onward && here === page.url()) return;
    await page.waitForURL((url) => url.href !== here, { timeout: 10_000 }).catch(() => {});
  }
}
