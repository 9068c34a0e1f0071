import { useEffect } from 'preact/hooks';
import { show, views } from '../api';
import type { Overview } from '../types';
import { FeederTable } from './overview';

export function FeedersScreen() {
  useEffect(() => show('overview'), []);
  const view = views.value.overview as Overview | undefined;
  return (
    <div class="screen">
      <section class="panel">
        <h1 class="pad">Feeders <small>broken limits first, then those under a limit, then abnormal devices{view && view.feeder_count > view.feeders.length ? ` · the worst ${view.feeders.length} of ${view.feeder_count}; Ctrl-K finds any` : ''}</small></h1>
        {view ? <FeederTable rows={view.feeders} /> : <p class="empty">Waiting …</p>}
      </section>
    </div>
  );
}
