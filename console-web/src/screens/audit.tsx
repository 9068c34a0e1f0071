import { useState } from 'preact/hooks';
import { get } from '../api';
import { useView } from '../parts/load';
import { Mark } from '../parts/mark';
import type { Audit as View } from '../types';
import { clock, day } from '../words';

type Row = View['rows'][number];
/** Kinds that come by the dozen from one decision: a run of them is one line until it is opened. */
const ROLLED = new Set(['OpenAdrObject', 'CommandsReported']);

function runs(rows: Row[]): Row[][] {
  const found: Row[][] = [];
  for (const row of rows) {
    const last = found[found.length - 1];
    if (last && last[0].kind === row.kind && ROLLED.has(row.kind)) last.push(row);
    else found.push([row]);
  }
  return found;
}

function Line({ row }: { row: Row }) {
  return <tr><td class="n">{row.seq}</td><td class="nobreak">{day(row.at_ns)} {clock(row.at_ns)}</td><td>{row.kind}</td><td>{row.subject}</td><td><a href={`/trace/${encodeURIComponent(row.id)}`}>{row.says}</a></td></tr>;
}

function Run({ rows }: { rows: Row[] }) {
  const [open, setOpen] = useState(false);
  const newest = rows[0], oldest = rows[rows.length - 1];
  if (rows.length < 3) return <>{rows.map((row) => <Line row={row} key={row.seq} />)}</>;
  return (
    <>
      <tr><td class="n nobreak">{oldest.seq} to {newest.seq}</td><td class="nobreak">{day(newest.at_ns)} {clock(newest.at_ns)}</td><td>{newest.kind}</td><td />
        <td><button class="plain row" aria-expanded={open} onClick={() => setOpen(!open)}>{rows.length} records, the newest: {newest.says}</button></td></tr>
      {open && rows.map((row) => <Line row={row} key={row.seq} />)}
    </>
  );
}

export function AuditScreen() {
  const [kind, setKind] = useState('');
  const [before, setBefore] = useState(0);
  const [check, setCheck] = useState<View | null>(null);
  const [checking, setChecking] = useState(false);
  const { view, problem } = useView<View>(`/audit?count=300&kind=${kind}&before=${before}`);
  const verify = () => { setChecking(true); get<View>('/audit?count=1&check=1').then(setCheck).finally(() => setChecking(false)); };
  return (
    <div class="screen">
      <section class="panel">
        <h1 class="pad">Audit <small>every decision, in order; each record's hash covers the one before it</small></h1>
        <form class="compose pad" onSubmit={(e) => e.preventDefault()}>
          <label>Kind<select value={kind} onChange={(e) => { setKind(e.currentTarget.value); setBefore(0); }}>{['', ...(view?.kinds ?? [])].map((k) => <option value={k} key={k}>{k || 'all'}</option>)}</select></label>
          <button type="button" onClick={() => setBefore(0)}>Newest</button>
          <button type="button" disabled={!view?.rows.length} onClick={() => setBefore(view!.rows[view!.rows.length - 1].seq)}>Older</button>
          <button type="button" disabled={checking} onClick={verify}>{checking ? 'Checking every record …' : 'Check the chain'}</button>
          {check && <span>{check.bad_seq === null ? `all ${check.last_seq.toLocaleString('en-US')} records are as they were written` : <><Mark priority={1} /> record {check.bad_seq} was changed</>}</span>}
        </form>
        {problem && <p class="problem pad">{problem}</p>}
        <div class="scroll" tabIndex={0} role="region" aria-label="Records">
          <table><thead><tr><th class="n">No.</th><th>Time</th><th>Kind</th><th>About</th><th>What</th></tr></thead>
            <tbody>{runs(view?.rows ?? []).map((rows) => <Run rows={rows} key={rows[rows.length - 1].seq} />)}</tbody></table>
        </div>
      </section>
    </div>
  );
}
