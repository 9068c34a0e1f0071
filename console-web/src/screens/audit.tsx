import { useState } from 'preact/hooks';
import { get } from '../api';
import { useView } from '../parts/load';
import { Mark } from '../parts/mark';
import type { Audit as View } from '../types';
import { clock, day } from '../words';

const KINDS = ['', 'Audited', 'AskGranted', 'AskRefused', 'ClaimsPlaced', 'CommandsIssued', 'AwardTaken', 'BatchTaken', 'EventChanged', 'PositionChanged', 'AlarmChanged', 'AuthorityChanged', 'AccountChanged'];

export function AuditScreen() {
  const [kind, setKind] = useState('');
  const [before, setBefore] = useState(0);
  const [check, setCheck] = useState<View | null>(null);
  const [checking, setChecking] = useState(false);
  const { view, problem } = useView<View>(`/audit?count=100&kind=${kind}&before=${before}`);
  const verify = () => { setChecking(true); get<View>('/audit?count=1&check=1').then(setCheck).finally(() => setChecking(false)); };
  return (
    <div class="screen">
      <section class="panel">
        <h1 class="pad">Audit <small>every decision, in order; each record's hash covers the one before it</small></h1>
        <form class="compose pad" onSubmit={(e) => e.preventDefault()}>
          <label>Kind<select value={kind} onChange={(e) => { setKind(e.currentTarget.value); setBefore(0); }}>{KINDS.map((k) => <option value={k} key={k}>{k || 'all'}</option>)}</select></label>
          <button type="button" onClick={() => setBefore(0)}>Newest</button>
          <button type="button" disabled={!view?.rows.length} onClick={() => setBefore(view!.rows[view!.rows.length - 1].seq)}>Older</button>
          <button type="button" disabled={checking} onClick={verify}>{checking ? 'Checking every record …' : 'Check the chain'}</button>
          {check && <span>{check.bad_seq === null ? `all ${check.last_seq.toLocaleString('en-US')} records are as they were written` : <><Mark priority={1} /> record {check.bad_seq} was changed</>}</span>}
        </form>
        {problem && <p class="problem pad">{problem}</p>}
        <div class="scroll" tabIndex={0} role="region" aria-label="Records">
          <table><thead><tr><th class="n">No.</th><th>Time</th><th>Kind</th><th>About</th><th>What</th></tr></thead>
            <tbody>{view?.rows.map((row) => <tr key={row.seq}><td class="n">{row.seq}</td><td>{day(row.at_ns)} {clock(row.at_ns)}</td><td>{row.kind}</td><td>{row.subject}</td><td><a href={`/trace/${encodeURIComponent(row.id)}`}>{row.says}</a></td></tr>)}</tbody></table>
        </div>
      </section>
    </div>
  );
}
