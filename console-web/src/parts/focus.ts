// Where the focus goes when what had it is gone: a form that closed as it was submitted, a button that went with its row.
// Left alone it falls to the body, and who works by keyboard begins at the top of the page again.
const FOCUSABLE = 'button:not([disabled]), a[href], input:not([disabled]), select:not([disabled]), [tabindex="0"]';
let near: Element[] = [];

function settle(): void {
  const held = document.activeElement;
  const [last] = near;
  if (!last || (held && held !== document.body)) return;
  if (last.isConnected && !(last as HTMLButtonElement).disabled) return; // left by the person, not taken away
  const place = near.find((element) => element.isConnected && element !== last && element !== document.body);
  if (!(place instanceof HTMLElement)) return;
  // What opened it, where something did; else what can be reached first there; else the place itself.
  const next = place.querySelector<HTMLElement>('button[aria-expanded]:not([disabled])') ?? place.querySelector<HTMLElement>(FOCUSABLE);
  if (!next) place.tabIndex = -1;
  (next ?? place).focus({ preventScroll: true });
}

/** Keep the focus near where it was, from now on. */
export function keepFocus(): void {
  addEventListener('focusin', (event) => {
    near = event.composedPath().filter((each): each is Element => each instanceof Element);
  });
  new MutationObserver(settle).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ['disabled'] });
}
