// The address bar is the state: every screen has its own path, and links are plain anchors.
import { signal } from '@preact/signals';

/** Paths that people guess from the API or the menu, and the screen that they mean. */
const ONE: Record<string, string> = { resources: 'resource', feeders: 'feeder', devices: 'resource', device: 'resource', group: 'resource', groups: 'resource', traces: 'trace' };
const ALL: Record<string, string> = { monitor: 'links', protocols: 'links', settlements: 'settlement', alarm: 'alarms', event: 'events', feeder: 'feeders', markets: 'market' };

/** Return the path of the screen that a path means. */
function settled(at: string): string {
  const [, word = '', ...rest] = at.split('/');
  const name = rest.join('/');
  const to = name ? ONE[word] : ALL[word];
  return to ? `/${to}${name ? `/${name}` : ''}` : at;
}
/** Return where we are; an address that means another one is put right, so that there is one for each screen. */
function here(): string {
  const to = settled(location.pathname);
  if (to !== location.pathname) history.replaceState(null, '', to);
  return to;
}

export const path = signal(here());
export function go(to: string): void {
  if (to === location.pathname) return;
  history.pushState(null, '', to);
  path.value = here();
  window.scrollTo(0, 0);
  document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true });
}
addEventListener('popstate', () => (path.value = here()));
addEventListener('click', (event) => {
  const anchor = (event.target as Element).closest?.('a');
  if (!anchor || event.metaKey || event.ctrlKey || event.button !== 0 || anchor.target || anchor.origin !== location.origin) return;
  event.preventDefault();
  go(anchor.pathname);
});
