import { useState } from 'preact/hooks';
import { may, shell } from '../api';
import { useView } from '../parts/load';
import { Mark } from '../parts/mark';
import type { Message } from '../types';
import { clock, day } from '../words';

export function LinksScreen() {
  const links = shell.value?.links ?? [];
  return (
    <div class="screen">
      <section class="panel">
        <h1 class="pad">Links <small>sessions with the grid, the market and the end-points</small></h1>
        <div class="scroll" tabIndex={0} role="region" aria-label="Links">
          <table>
            <thead><tr><th>Link</th><th>Protocol</th><th>State</th><th>Since</th><th class="n">Peers</th><th class="n">Received</th><th class="n">Refused</th><th class="n">Errors</th><th>Last error</th></tr></thead>
            <tbody>{links.map((link) => (
              <tr key={link.name}><td>{link.name}</td><td>{link.protocol}</td><td>{link.state === 'live' ? 'live' : <><Mark priority={2} /> {link.state}</>}</td><td>{clock(link.since_ns)}</td>
                <td class="n">{link.peers}</td><td class="n">{link.received}</td><td class="n">{link.refused}</td><td class="n">{link.errors}</td><td>{link.last_error}</td></tr>
            ))}</tbody>
          </table>
        </div>
      </section>
      {may('see_messages') && <Monitor names={[...new Set(links.map((link) => link.protocol))]} />}
    </div>
  );
}

function Monitor({ names }: { names: string[] }) {
  const [protocol, setProtocol] = useState('');
  const [held, setHeld] = useState<Message[] | null>(null);
  const { view, problem } = useView<Message[]>(`/messages?count=100&protocol=${encodeURIComponent(protocol)}`, 3);
  const rows = held ?? view;
  return (
    <section class="panel messages">
      <h2>Protocol monitor <small>messages that carried a decision, newest first, with the bytes as they were on the wire</small></h2>
      <form class="compose pad" onSubmit={(e) => e.preventDefault()}>
        <label>Protocol<select value={protocol} onChange={(e) => { setHeld(null); setProtocol(e.currentTarget.value); }}><option value="">all</option>{names.map((name) => <option key={name} value={name}>{name}</option>)}</select></label>
        <button type="button" aria-pressed={held !== null} onClick={() => setHeld(held ? null : view)}>{held ? 'Go on' : 'Hold still'}</button>
      </form>
      {problem && <p class="problem pad" role="alert">{problem}</p>}
      {!rows ? <p class="empty">Reading …</p> : !rows.length ? <p class="quiet pad">No message yet.</p> : rows.map((m) => (
        <details key={m.record + m.raw}>
          <summary><time title={day(m.at_ns)}>{clock(m.at_ns)}</time><span>{m.protocol}</span><span class="quiet">{m.direction}</span><span>{m.fields.length ? m.fields.map(([, value]) => value).join(' \u00b7 ') : m.says}</span></summary>
          <div>
            {m.fields.map(([name, value]) => <span class="chip" key={name}>{name}: <b>{value}</b></span>)}
            <p>{m.says}</p>
            <p class="quiet">{m.is_hex ? `${m.raw.replace(/ /g, '').length / 2} octets` : 'as text'} · <a href={`/trace/${encodeURIComponent(m.record)}`}>record {m.seq}: what it led to</a></p>
            <pre class="raw" tabIndex={0} role="region" aria-label="Raw message">{m.is_hex ? m.raw.replace(/ /g, '').replace(/../g, '$& ') : m.raw}</pre>
          </div>
        </details>
      ))}
    </section>
  );
}
