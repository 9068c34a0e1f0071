import type { ComponentChildren } from 'preact';

/** A figure with its label; `odd` says why it is not normal, and then it is marked. */
export function Figure({ label, value, note, title, children }: { label: string; value: ComponentChildren; note?: ComponentChildren; title?: string; children?: ComponentChildren }) {
  return (
    <section class="figure" title={title}>
      <h2>{label}</h2>
      <p class="value">{value}</p>
      {children}
      {note && <p class="note">{note}</p>}
    </section>
  );
}

/** A bar of a value against a target tick within limits (W). */
export function Bar({ value, target, low, high, label }: { value: number | null; target: number | null; low: number; high: number; label: string }) {
  const span = Math.max(high - low, 1e-9);
  const at = (watts: number) => Math.min(Math.max(((watts - low) / span) * 100, 0), 100);
  const zero = at(0);
  const from = value === null ? zero : Math.min(zero, at(value));
  const size = value === null ? 0 : Math.abs(at(value) - zero);
  return (
    <svg class="levelbar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={label}>
      <rect class="track" x="0" y="2" width="100" height="4" />
      <rect class="fill" x={from} y="2" width={size} height="4" />
      {low < 0 && high > 0 && <rect class="zero" x={zero - 0.1} y="1" width="0.3" height="6" />}
      {target !== null && <rect class="tick" x={at(target) - 0.3} y="0" width="0.7" height="8" />}
    </svg>
  );
}
