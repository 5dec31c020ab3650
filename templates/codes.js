/* Shows the buttons that need a script. Without one, the codes can be downloaded, selected and printed by the browser's menu. */
const codes = [...document.querySelectorAll('.codes li')].map((code) => code.textContent).join('\n');
const copy = document.querySelector('[data-does=copy]');
const print = document.querySelector('[data-does=print]');
if (navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener('click', async () => {
    await navigator.clipboard.writeText(codes);
    document.querySelector('[data-says=copied]').textContent = copy.dataset.done;
  });
}
print.hidden = false;
print.addEventListener('click', () => window.print());
