import { shell } from '../api';
import { Mark } from '../parts/mark';
import { clock } from '../words';

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
    </div>
  );
}
