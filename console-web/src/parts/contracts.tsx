// The contracts of a device: what each lets be called, what of its budgets is used, and the owner's word on it.
import { useState } from 'preact/hooks';
import { may, post, Problem, toast } from '../api';
import type { Contract } from '../types';
import { clock, day } from '../words';
import { useView } from './load';

export function Contracts({ resource, again }: { resource: string; again?: () => void }) {
  const { view, again: anew } = useView<Contract[]>(`/contracts?resource=${encodeURIComponent(resource)}`, 30);
  if (!view?.length) return null;
  return (
    <section class="panel contracts" aria-label="Contracts">
      <h2>Contracts <small>what its owner agreed to; a word counts from the next arbitration on</small></h2>
      {view.map((one) => <One key={one.id} contract={one} told={() => { anew(); again?.(); }} />)}
    </section>
  );
}

const of = (used: number, most: number | null, unit: string): string => `${Math.round(used * 10) / 10}${most === null ? '' : ` of ${most}`} ${unit}`;

function One({ contract: c, told }: { contract: Contract; told: () => void }) {
  const [asks, setAsks] = useState(false);
  const [problem, setProblem] = useState('');
  const withdraw = () => post(`/contracts/${encodeURIComponent(c.id)}/withdraw`, {}).then(
    () => { setAsks(false); setProblem(''); toast.value = 'Consent is taken back: nobody calls it any more under this contract.'; told(); },
    (e) => setProblem(e instanceof Problem ? e.says() : String(e)),
  );
  const last = c.words[c.words.length - 1];
  return (
    <div class="pad">
      <dl>
        <dt>Contract</dt><dd>{c.id}{c.terms_version !== null && <small> terms {c.terms_version}{c.to_ns !== null && `, until ${day(c.to_ns)}`}</small>}</dd>
        <dt>Between</dt><dd>{c.owner} and {c.manager}, {c.devices.toLocaleString('en-US')} device{c.devices === 1 ? '' : 's'}</dd>
        <dt>May be called for</dt><dd>{c.out_because ? <span class="entered">nothing: {c.out_because}</span> : c.products.map((p) => <span class="chip" key={p.product} title={p.why}>{p.product}{!p.may_call && ' (no)'}</span>)}</dd>
        <dt title="Of program events, in this calendar year">Used this season</dt><dd>{of(c.calls, c.most_calls, 'calls')}, {of(c.hours, c.most_hours, 'h')}</dd>
        {c.least_reserve_frac > 0 && <><dt>Kept back</dt><dd>{Math.round(c.least_reserve_frac * 100)} % of what it stores</dd></>}
        {c.owner_share_frac !== null && <><dt>Owner's share</dt><dd>{Math.round(c.owner_share_frac * 100)} %</dd></>}
        {last && <><dt>Said last</dt><dd>consent {last.is_given ? 'given' : 'taken back'} {clock(last.at_ns, false)} {day(last.at_ns)} by {last.by}{last.because && `: ${last.because}`}</dd></>}
      </dl>
      {problem && <p class="problem" role="alert">{problem}</p>}
      {may('consent') && !c.out_because && (!asks ? <button onClick={() => setAsks(true)}>Take consent back …</button>
        : <div class="asks"><p>Nothing on {c.devices === 1 ? 'this device' : `these ${c.devices} devices`} is called any more under {c.id}. A new consent needs a new signature.</p><button onClick={withdraw}>Yes, take it back</button> <button onClick={() => setAsks(false)}>Leave it</button></div>)}
    </div>
  );
}
