// The address bar is the state: every screen has its own path, and links are plain anchors.
import { signal } from '@preact/signals';

export const path = signal(location.pathname);
export function go(to: string): void {
  if (to === location.pathname) return;
  history.pushState(null, '', to);
  path.value = location.pathname;
  window.scrollTo(0, 0);
  document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true });
}
addEventListener('popstate', () => (path.value = location.pathname));
addEventListener('click', (event) => {
  const anchor = (event.target as Element).closest?.('a');
  if (!anchor || event.metaKey || event.ctrlKey || event.button !== 0 || anchor.target || anchor.origin !== location.origin) return;
  event.preventDefault();
  go(anchor.pathname);
});
