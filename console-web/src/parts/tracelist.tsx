import type { Trace } from '../types';
import { clock, spaced } from '../words';

/** A chain of records, cause above effect; indentation is depth, the start is marked. */
export function TraceList({ trace }: { trace: Trace }) {
  if (!trace.nodes.length) return <p class="quiet pad">Nothing commands it, so there is no chain.</p>;
  return (
    <ol class="trace" aria-label="What led to what">
      {trace.nodes.map((node) => (
        <li key={node.id} class={node.id === trace.start ? 'start' : ''} style={{ marginLeft: `${Math.min(node.depth, 10) * 18}px` }}>
          <time>{clock(node.at_ns)}</time> <span class="kind">{spaced(node.kind.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase()).replace('open adr', 'OpenADR')}</span>
          <a href={`/trace/${encodeURIComponent(node.id)}`}>{node.says}</a> {node.subject && <span class="quiet">{node.subject}</span>}
        </li>
      ))}
      {trace.is_cut && <li class="quiet">… and more: the trace is cut here</li>}
    </ol>
  );
}
