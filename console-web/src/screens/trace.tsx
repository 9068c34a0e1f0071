import { useView } from '../parts/load';
import { TraceList } from '../parts/tracelist';
import type { Trace } from '../types';

export function TraceScreen({ name }: { name: string }) {
  const { view, problem } = useView<Trace>(`/trace/${encodeURIComponent(name)}`);
  return (
    <div class="screen">
      <section class="panel">
        <h1 class="pad">Trace <small>{name}</small></h1>
        {problem ? <p class="problem pad">{problem}</p> : view ? <TraceList trace={view} /> : <p class="empty">Following the chain …</p>}
      </section>
    </div>
  );
}
