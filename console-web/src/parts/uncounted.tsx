import { clock } from '../words';

/** When no server counted: the figures beside it hold nothing of that time. */
export function Uncounted({ spans }: { spans: [number, number][] }) {
  if (!spans.length) return null;
  const told = spans.map(([from, to]) => `${clock(from)} to ${clock(to)}`).join(', ');
  return <div class="entered small" title="No server ran then, or what it had counted died with it: nothing is made up for that time">not counted: {told}</div>;
}
