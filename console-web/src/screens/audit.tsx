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
    if (last && last[0].kind === row.kind && row.count === 1 && last[0].count === 1 && ROLLED.has(row.kind)) last.push(row);
    else found.push([row]);
  }
  return found;
}

function Line({ row }: { row: Row }) {
  return <tr><td class="n">{row.seq}</td><td class="nobreak">{day(row.at_ns)} {clock(row.at_ns)}</td><td>{row.kind}</td><td>{row.subject}</td><td><a href={`/trace/${encodeURIComponent(row.id)}`}>{row.says}</a></td></tr>;
}

const AT_ONCE = 500;

/** Renewals that the server rolled up: how many, since when, and the newest; opened, each of them. */
function Renewed({ row }: { row: Row }) {
  const [rows, setRows] = useState<Row[] | null>(null);
  const open = () => (rows ? setRows(null) : get<View>(`/audit?kind=${row.kind}&before=${row.seq + 1}&count=${AT_ONCE}`)
    .then((view) => setRows(view.rows.filter((each) => each.seq >= row.first_seq! && (!row.subject || each.subject === row.subject)))));
  return (
    <>
      <tr class="quiet"><td class="n nobreak">{row.first_seq} to {row.seq}</td><td class="nobreak">{day(row.first_ns!)} {clock(row.first_ns!)} to {clock(row.at_ns)}</td><td>{row.kind}</td><td>{row.subject}</td>
        <td><button class="plain row" aria-expanded={rows !== null} onClick={open}>{row.count.toLocaleString('en-US')} records, the newest: {row.says}</button>{rows && row.count > rows.length ? ` (${rows.length} of them below)` : ''}</td></tr>
      {rows?.map((each) => <Line row={each} key={each.seq} />)}
    </>
  );
}

/** What stays the same of a run while the page is read anew: its oldest record, so that an opened line stays open. */
function keyOf(rows: Row[]): string {
  const oldest = rows[rows.length - 1];
  return `${oldest.kind} ${oldest.first_seq ?? oldest.seq}`;
}

function Run({ rows }: { rows: Row[] }) {
  const [open, setOpen] = useState(false);
  const newest = rows[0], oldest = rows[rows.length - 1];
  if (newest.count > 1) return <Renewed row={newest} />;
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
  const [all, setAll] = useState(false);
  const [before, setBefore] = useState(0);
  const [check, setCheck] = useState<View | null>(null);
  const [checking, setChecking] = useState(false);
  const { view, problem, stale } = useView<View>(`/audit?count=300&kind=${kind}&before=${before}&all=${all ? 1 : 0}`);
  const verify = () => { setChecking(true); get<View>('/audit?count=1&check=1').then(setCheck).finally(() => setChecking(false)); };
  return (
    <div class="screen">
      <section class="panel">
        <h1 class="pad">Audit <small>every decision, in order; what the desk renews by itself is counted in one line; each record's hash covers the one before it</small></h1>
        <form class="compose pad" onSubmit={(e) => e.preventDefault()}>
          <label>Show<select value={all ? 'all' : 'acts'} onChange={(e) => { setAll(e.currentTarget.value === 'all'); setBefore(0); }}><option value="acts">acts, renewals rolled up</option><option value="all">each record</option></select></label>
          <label>Kind<select value={kind} onChange={(e) => { setKind(e.currentTarget.value); setBefore(0); }}>{['', ...(view?.kinds ?? [])].map((k) => <option value={k} key={k}>{k || 'all'}</option>)}</select></label>
          <button type="button" onClick={() => setBefore(0)}>Newest</button>
          <button type="button" disabled={!view?.next_before} onClick={() => setBefore(view!.next_before)}>Older</button>
          <button type="button" disabled={checking} onClick={verify}>{checking ? 'Checking every record …' : 'Check the chain'}</button>
          {check && <span>{check.bad_seq === null ? `all ${check.last_seq.toLocaleString('en-US')} records are as they were written` : <><Mark priority={1} /> record {check.bad_seq} was changed</>}</span>}
        </form>
        {problem && <p class="problem pad">{problem}</p>}
        <div class="scroll" tabIndex={0} role="region" aria-label="Records" aria-busy={stale}>
          <table><thead><tr><th class="n">No.</th><th>Time</th><th>Kind</th><th>About</th><th>What</th></tr></thead>
            <tbody>{runs(view?.rows ?? []).map((rows) => <Run rows={rows} key={keyOf(rows)} />)}</tbody></table>
        </div>
      </section>
    </div>
  );
}
